"""What do the products buy: the table and picture of the study `product_or_sum`, in one command.

python tests/bench/products.py images.npz             # six seeds, about 35 minutes of one core; docs/products.png
python tests/bench/products.py digits --smoke         # two seeds, one epoch, in four minutes; no picture

Every network of the study is trained with every seed (studies product_or_sum-NAME_0, ... in runs/ or HADNAS_HOME; the
same command continues them), scored once more on the validation images, as it is and in int8 (calibrated on 500
training images), and each product is timed alternately with its additive twin on four backends (kept in the home).
Differences are paired by seed and by image, their 95 % intervals count both, and p-values are corrected by Holm. The
change by int8 has the same intervals; McNemar's exact test is on the answers of the first seed, corrected by Holm.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest
from star_or_sum import Hits, holm, spread, words
from torch import Tensor, nn

import hadnas
from hadnas.measure.onnx import INPUT, as_int8, as_onnx
from hadnas.opened import open_study
from hadnas.results.candidate import Found
from hadnas.results.statistics import MIN_SEED_PAIRS, Estimate, difference
from hadnas.results.table import StudyResults
from hadnas.shell.progress import SearchDisplay
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.train.data.spec import Data
from hadnas.train.score import score_module

Network = tuple[str, str]  # block, "mul" or "sum"
BACKENDS = ("eager", "compile", "onnxruntime", "int8")
CALIBRATION = 500
PICTURE = Path(__file__).parents[2] / "docs" / "products.png"


def trained(source: str, seeds: int, epochs: int | None) -> list[StudyResults]:
    """One study per seed, trained to its end."""
    study, home = hadnas.load("product_or_sum"), Home()
    assert isinstance(study, Study)
    recipe = study.recipe if epochs is None else study.recipe.model_copy(update={"epochs": epochs})
    names = [f"product_or_sum-{Path(source).stem}_{seed}" for seed in range(seeds)]
    for seed, name in enumerate(names):
        settings = {"name": name, "seed": seed, "recipe": recipe, "data": {"source": source}}
        display = SearchDisplay()
        with display.bar:
            hadnas.run_study(Study(**{**study.model_dump(), **settings}), home, watch=display)
    return [open_study(name) for name in names]


def key(trial: Found) -> Network:
    assert trial.arch is not None
    node = trial.arch.node["stages"][0]["blocks"][0]["block"]
    return node["op"], node["interact"]


class InRuntime(nn.Module):
    """A network in int8, run by ONNX Runtime."""

    def __init__(self, network: nn.Module, data: Data) -> None:
        super().__init__()
        (images,), _ = next(data.train.batches(CALIBRATION))
        content = as_int8(as_onnx(network.eval(), (images[:2],), any_batch=True), [{INPUT: images.numpy()}])
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def forward(self, images: Tensor) -> Tensor:
        (found,) = self.session.run(None, {INPUT: images.numpy()})
        return torch.from_numpy(found)


def scored(studies: list[StudyResults]) -> tuple[dict[Network, Hits], dict[Network, Hits]]:
    """Which validation images each study's network recognises, as it is and in int8."""
    whole: dict[Network, Hits] = {}
    eighth: dict[Network, Hits] = {}
    for study in track(studies, "scoring", console=Console(stderr=True)):
        data, batch = study.data(), study.study.recipe.evaluation_batch
        for trial in study.distinct:
            network = study.network(trial)
            for hits, module in ((whole, network), (eighth, InRuntime(network, data))):
                right = score_module(module, data, "val", batch=batch).hits
                hits.setdefault(key(trial), []).append(right.tolist())
    return whole, eighth


def ratios(study: StudyResults, blocks: list[str], seconds: float) -> dict[str, dict[str, float]]:
    """Block -> backend -> latency of the product over that of its twin, timed alternately; kept beside the study."""
    kept = study.home.path / f"{study.name}-latency.json"
    known: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.exists() else {}
    networks = {key(trial): study.network(trial) for trial in study.distinct}
    for block in track(blocks, "timing", console=Console(stderr=True)):
        for backend in BACKENDS:
            if backend not in known.setdefault(block, {}):
                pair = networks[block, "mul"], networks[block, "sum"]
                found = hadnas.latency(pair[0], study.task().shape, backend=backend, reference=pair[1], seconds=seconds)
                known[block][backend] = found.ratio
                kept.write_text(json.dumps(known))
    return known


def mcnemar(before: list[bool], after: list[bool]) -> float:
    """Exact two-sided p-value that as many answers become right as wrong."""
    lost, won = (sum(a and not b for a, b in zip(*pair, strict=True)) for pair in ((before, after), (after, before)))
    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def draw(
    blocks: list[str],
    leads: list[Estimate],
    p_values: Sequence[float | None],
    speed: dict[str, dict[str, float]],
    int8: list[str],
) -> None:
    """A forest plot of product minus sum, with latency ratios and the changes by int8 beside it."""
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    axes, side = figure.subplots(1, 2, width_ratios=(1, 1.15), sharey=True)
    rows = range(len(blocks))
    for row, lead, p in zip(rows, leads, p_values, strict=True):
        color = "#0b6e99" if p is not None and p < 0.05 else "#777777"
        axes.plot([100 * lead.low, 100 * lead.high], [row, row], color=color, linewidth=2)
        axes.plot(100 * lead.mean, row, "o", color=color)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_yticks(list(rows), blocks)
    axes.set_ylim(len(blocks) - 0.5, -0.5)
    axes.set_xlabel("accuracy of the product minus that of its sum,\nin points; blue: p < 0.05 after Holm's correction")
    columns = {name: [f"{speed[block][name]:.2f}" for block in blocks] for name in BACKENDS} | {"product, sum": int8}
    places = [0, 1, 2.1, 3.2, 4.8]
    side.set_xlim(-0.5, 5.7)
    side.set_xticks(places, list(columns))
    side.xaxis.tick_top()
    side.tick_params(length=0, labelleft=False)
    for place, title in ((1.6, "latency, product over sum"), (4.8, "change of accuracy by int8")):
        side.text(place, 1.1, title, ha="center", va="bottom", transform=side.get_xaxis_transform(), fontweight="bold")
    for place, values in zip(places, columns.values(), strict=True):
        for row in rows:
            side.text(place, row, values[row], ha="center", va="center")
    axes.spines[["top", "right"]].set_visible(False)
    side.spines[:].set_visible(False)
    figure.savefig(PICTURE, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="as of `hadnas search --data`")
    parser.add_argument("--seeds", type=int, default=MIN_SEED_PAIRS)
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    studies = trained(given.data, 2 if given.smoke else given.seeds, 1 if given.smoke else None)
    whole, eighth = scored(studies)
    every = {network for network, hits in whole.items() if len(hits) == len(studies)}
    pairs = sorted(block for block, way in every if way == "mul" and (block, "sum") in every)
    speed = ratios(studies[0], pairs, 0.5 if given.smoke else 8.0)
    leads = {block: difference(whole[block, "mul"], whole[block, "sum"]) for block in pairs}
    blocks = sorted(leads, key=lambda block: -leads[block].mean)
    single = [p for block in blocks if (p := leads[block].p) is not None]
    corrected = holm(single) if len(single) == len(blocks) else [None] * len(blocks)
    networks = [(block, way) for block in blocks for way in ("mul", "sum")]
    change = {network: difference(eighth[network], whole[network]) for network in networks}
    tests = dict(zip(networks, holm([mcnemar(whole[n][0], eighth[n][0]) for n in networks]), strict=True))
    costs = {key(trial): trial.figures for trial in studies[0].distinct}
    table = Table("block", "MACs", "product", "sum", "product - sum", *BACKENDS, box=None, pad_edge=False)
    for name in ("product", "sum"):
        table.add_column(f"{name} in int8 - float")
    for block, p in zip(blocks, corrected, strict=True):
        table.add_row(
            block,
            f"{costs[block, 'mul']['macs']:,.0f}",
            spread(whole[block, "mul"]),
            spread(whole[block, "sum"]),
            words(leads[block], p),
            *(f"{speed[block][backend]:.2f}" for backend in BACKENDS),
            *(words(change[block, way], tests[block, way]) for way in ("mul", "sum")),
        )
    console = Console(width=240)
    console.print(table)
    console.print(
        f"validation accuracy in %, n = {leads[blocks[0]].n:,} images, {len(studies)} seeds; 95 % intervals over seeds "
        f"and images; p of product - sum corrected by Holm for {len(blocks)} comparisons, p of int8 by McNemar on the "
        f"first seed, corrected for {len(networks)}; latency of the product over that of its sum, batch 1, 1 thread",
        highlight=False,
    )
    for study in studies:
        for found in study.refused:
            console.print(f"{study.name}: {found.name} was refused: {found.reason}", highlight=False)
    if not given.smoke:
        int8 = [f"{100 * change[b, 'mul'].mean:+.2f}, {100 * change[b, 'sum'].mean:+.2f}" for b in blocks]
        draw(blocks, [leads[block] for block in blocks], corrected, speed, int8)


if __name__ == "__main__":
    sys.exit(main())
