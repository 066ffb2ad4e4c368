"""Draws the picture of the README from a home with the study digits: `python -m docs.picture --home runs`."""

import argparse
import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.generate import DOCS
from hadnas.opened import open_study
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults

FRONT, OTHER, BASELINE, INK = "#0b6e99", "#a9bfca", "#d1662a", "#333333"
LABELS = {"plain_conv": "plain convolutions", "starnet_small": "small StarNet", "timm_resnet": "timm's test_resnet"}
TICKS = (50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500)  # thousand MACs


def points(found: list[Found]) -> tuple[list[float], list[float]]:
    """MACs in thousands, and validation accuracy in %."""
    return [f.figures["macs"] / 1e3 for f in found], [100 * f.figures["val/accuracy"] for f in found]


def label(axes: Axes, text: str, x: float, y: float, offset: tuple[int, int], color: str) -> None:
    axes.annotate(text, (x, y), offset, textcoords="offset points", color=color, fontsize=10)


def drawn(study: StudyResults) -> Figure:
    front = sorted(study.front, key=lambda found: found.figures["macs"])
    others = [found for found in study.distinct if found not in front]
    figure = Figure(figsize=(8, 4.2), dpi=200, layout="constrained")
    axes = figure.subplots()
    axes.step(*points(front), where="post", color=FRONT, linewidth=1.5, zorder=1)
    axes.scatter(*points(front), s=64, color=FRONT, label=f"{len(front)} candidates on the Pareto front", zorder=3)
    axes.scatter(*points(others), s=48, color=OTHER, label=f"{len(others)} other candidates", zorder=2)
    baselines = f"{len(study.baselines)} baselines"
    axes.scatter(*points(study.baselines), s=64, marker="D", color=BASELINE, label=baselines, zorder=3)
    for baseline, x, y in zip(study.baselines, *points(study.baselines), strict=True):
        label(axes, LABELS[baseline.name], x, y, (-7, -18), BASELINE)
    (x,), (y,) = points([study.best])
    label(axes, f"best: {y:.1f} % at {x:.0f}k MACs", x, y, (10, -4), FRONT)
    n = study.best.notes["val_n"]
    share = study.best.figures["val/accuracy"]
    axes.set_title(
        f"hadnas search {study.name}: accuracy against cost (n = {n} images, standard error about "
        f"{100 * math.sqrt(share * (1 - share) / n):.1f} %)",
        loc="left",
        fontsize=11,
        color=INK,
    )
    axes.set_xlabel("MACs of one forward pass", fontsize=11, color=INK)
    axes.set_ylabel("validation accuracy, %", fontsize=11, color=INK)
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick}k" if tick < 1000 else f"{tick / 1000:g}M" for tick in TICKS])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee", zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=10)
    axes.legend(loc="lower right", frameon=False, fontsize=10, labelcolor=INK)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", help="by default HADNAS_HOME, else runs/")
    drawn(open_study("digits", parser.parse_args().home)).savefig(DOCS / "digits.png")
