"""Grafts against the fine-tuned parent and their additive twins: the table and picture of the study `graft`.

python tests/bench/grafts.py enlarge fashion_mnist_small.npz images.npz  # to 56 x 56 pixels
python tests/bench/grafts.py graft_0 graft_1 graft_2                     # studies in runs/ or HADNAS_HOME

The second command scores every trained network once more on the validation images, one by one, times each against
the parent without grafts, prints a table and writes docs/grafts.png. Differences are paired by seed and by image, their
95 % intervals count both; p-values are corrected by Holm for the number of comparisons.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from rich.progress import track
from rich.table import Table
from star_or_sum import Hits, holm, spread, words

import hadnas
from hadnas.opened import open_study
from hadnas.results.candidate import Found
from hadnas.results.statistics import Estimate, difference
from hadnas.results.table import StudyResults
from hadnas.train.score import score_module

NAMES = (
    "parent",
    "product around blocks",
    "sum around blocks",
    "second order, product",
    "second order, sum",
    "SE gate behind blocks",
    "star for the trunk",
    "its sum for the trunk",
    "without the trunk",
    "without idle blocks",
)
"""The options of the study's space, in its order."""

TWINS = {1: 2, 3: 4, 6: 7}
"""A product and its additive twin."""

BACKENDS = ("eager", "compile")
PICTURE = Path(__file__).parents[2] / "docs" / "grafts.png"


def enlarge(source: str, target: str) -> None:
    """Write a `.npz` file with images of twice the side, interpolated."""
    arrays = dict(np.load(source))
    for name in [name for name in arrays if name.endswith("_images")]:
        images = torch.from_numpy(arrays[name]).float().permute(0, 3, 1, 2)
        larger = torch.nn.functional.interpolate(images, scale_factor=2, mode="bilinear")
        arrays[name] = larger.round().byte().permute(0, 2, 3, 1).numpy()
    np.savez_compressed(target, **arrays)


def option(trial: Found) -> int:
    """Which option of the space a trial has."""
    return int(str(trial.params["grafts"]).removeprefix("#"))


def scored(studies: list[StudyResults]) -> dict[int, Hits]:
    """Option -> which validation images each study's network recognises."""
    found: dict[int, Hits] = {index: [] for index in range(len(NAMES))}
    for study in track(studies, "scoring", console=Console(stderr=True)):
        data, batch = study.data(), study.study.recipe.evaluation_batch
        for trial in study.distinct:
            right = score_module(study.network(trial), data, "val", batch=batch).hits
            found[option(trial)].append(right.tolist())
    return found


def latencies(study: StudyResults, backend: str) -> list[float]:
    """The latency of every option as a multiple of the parent's, timed alternately."""
    networks = {option(trial): study.network(trial) for trial in study.distinct}
    timed = {0: 1.0}
    for index in track(range(1, len(NAMES)), f"timing, {backend}", console=Console(stderr=True)):
        found = hadnas.latency(networks[index], study.task().shape, backend=backend, reference=networks[0])
        timed[index] = found.ratio
    return [timed[index] for index in range(len(NAMES))]


COLORS = {"multiplies": "#0b6e99", "additive twin": "#d1662a", "dropped": "#555555"}


def draw(leads: list[Estimate], macs: list[float], speed: dict[str, list[float]]) -> None:
    """A forest plot of the differences from the parent, with costs beside it."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes, side = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    rows = range(1, len(NAMES))
    for row, lead in zip(rows, leads, strict=True):
        kind = "dropped" if "without" in NAMES[row] else "additive twin" if row in TWINS.values() else "multiplies"
        axes.plot([100 * lead.low, 100 * lead.high], [row, row], color=COLORS[kind], linewidth=2)
        axes.plot(100 * lead.mean, row, "o", color=COLORS[kind])
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_yticks(list(rows), NAMES[1:])
    axes.set_ylim(len(NAMES) - 0.4, 0.4)
    axes.set_xlabel("validation accuracy minus the parent's, in percentage points")
    axes.legend(handles=[Line2D([], [], color=color, marker="o", label=kind) for kind, color in COLORS.items()])
    columns = {"MACs": [value / macs[0] for value in macs], **{f"{name}\nlatency": speed[name] for name in BACKENDS}}
    side.set_xlim(-0.5, len(columns) - 0.5)
    side.set_xticks(range(len(columns)), list(columns))
    side.xaxis.tick_top()
    side.tick_params(length=0, labelleft=False)
    side.set_xlabel("the parent's: 1")
    for place, values in enumerate(columns.values()):
        for row in rows:
            side.text(place, row, f"{values[row]:.2f}", ha="center", va="center")
    axes.spines[["top", "right"]].set_visible(False)
    side.spines[:].set_visible(False)
    figure.savefig(PICTURE, dpi=150)


def main(names: list[str]) -> None:
    studies = [open_study(name) for name in names]
    hits = scored(studies)
    costs = {option(trial): trial.figures for trial in studies[0].distinct}
    speed = {backend: latencies(studies[0], backend) for backend in BACKENDS}
    leads = [difference(hits[index], hits[0]) for index in range(1, len(NAMES))]
    twins = {index: difference(hits[index], hits[twin]) for index, twin in TWINS.items()}
    single = [found.p for found in (*leads, *twins.values()) if found.p is not None]
    corrected = holm(single) if len(single) == len(leads) + len(twins) else [None] * (len(leads) + len(twins))
    said = [words(found, p) for found, p in zip([*leads, *twins.values()], corrected, strict=True)]
    against = dict(zip(twins, said[len(leads) :], strict=True))
    table = Table(
        "graft", "parameters", "MACs", "accuracy", "- parent", "- additive twin", *BACKENDS, box=None, pad_edge=False
    )
    for index, name in enumerate(NAMES):
        table.add_row(
            name,
            f"{costs[index]['params']:,.0f}",
            f"{costs[index]['macs']:,.0f}",
            spread(hits[index]),
            said[index - 1] if index else "",
            against.get(index, ""),
            *(f"{speed[backend][index]:.2f}" for backend in BACKENDS),
        )
    console = Console(width=200)
    console.print(table)
    console.print(
        f"validation accuracy in %, n = {leads[0].n:,} images, {leads[0].seeds} seeds: {', '.join(names)}; "
        f"95 % intervals over seeds and images; p corrected by Holm for {len(said)} comparisons",
        highlight=False,
    )
    draw(leads, [costs[index]["macs"] for index in range(len(NAMES))], speed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["enlarge"]:
        enlarge(*sys.argv[2:])
    else:
        main(sys.argv[1:])
