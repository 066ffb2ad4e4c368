"""The result of the race: its tables, and the picture of the README.

python tests/bench/race_facts.py  # from race.csv; writes docs/race.png

A search chooses its front by the accuracies that it saw; the front's hypervolume is judged by the means over the
judges' seeds. Its objectives are accuracy and log10 MACs, its unit is what all judged networks reach together.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from race import DIRECTIONS, JUDGES, PILOTS, SAMPLERS, TRIALS, met_fronts, read, searches

from hadnas.measure.front import hypervolume
from hadnas.replay.replay import Contender, Search, Tried
from hadnas.replay.scores import WorkShare, shares, summaries

MOST = 4_358_592
"""The largest MACs of the space: every width, expansion and kernel at its largest."""

PICTURE = Path(__file__).parents[2] / "docs" / "race.png"
BARE = next(iter(SAMPLERS))
COLORS = {"random": "#8b98a0", BARE: "#d1662a", "hadnas": "#0b6e99"}
NAMES = {"random": "random", BARE: "bare Optuna (TPE)", "hadnas": "hadnas"}
INK = "#333333"

Point = tuple[float, float]


def pilot() -> tuple[float, float, float]:
    """Standard deviations between networks and between seeds, of the random ones; the worst mean accuracy of all."""
    by_network: dict[str, list[float]] = {}
    for row in sorted(read()["pilot"], key=lambda row: int(row["seed"])):
        by_network.setdefault(row["draw"], []).append(float(row["val_accuracy"]))
    macs = {row["draw"]: int(row["macs"]) for row in read()["pilot"]}
    pairs = np.array([by_network[draw] for draw in sorted(macs, key=macs.__getitem__)])
    random = pairs[-PILOTS:]  # the cheapest come first
    noise = float(np.sqrt(np.mean(np.diff(random) ** 2) / 2))
    return float(random.mean(axis=1).std(ddof=1)), noise, float(pairs.mean(axis=1).min())


def judged() -> dict[str, Point]:
    """fingerprint -> mean accuracy over the judges' seeds, and log10 MACs."""
    found: dict[str, list[float]] = {}
    macs: dict[str, float] = {}
    for row in read()["judge"]:
        found.setdefault(row["fingerprint"], []).append(float(row["val_accuracy"]))
        macs[row["fingerprint"]] = np.log10(float(row["macs"]))
    return {name: (float(np.mean(values)), macs[name]) for name, values in found.items() if len(values) == len(JUDGES)}


def scored(accuracy: float) -> list[Search]:
    """Every search, judged after each training, with a reference point of that accuracy."""
    points, reference = judged(), (accuracy, np.log10(MOST))
    best = hypervolume(list(points.values()), DIRECTIONS, reference)
    found = []
    for (sampler, seed), rows in searches(read()["search"]).items():
        work = np.cumsum([float(row["work"]) for row in rows])
        fronts = [[points[row["fingerprint"]] for row in front] for front in met_fronts(rows)]
        volumes = [hypervolume(front, DIRECTIONS, reference) / best for front in fronts]
        steps = [Tried(n, *step) for n, step in enumerate(zip(work, volumes, strict=True), 1)]
        found.append(Search(Contender(sampler, sampler), seed, steps))
    return sorted(found, key=lambda one: list(SAMPLERS).index(one.contender.label))


def by_trainings(found: Sequence[Search]) -> list[Search]:
    """The searches with their trainings counted as work."""
    return [Search(s.contender, s.seed, [Tried(t.tried, t.tried, t.score) for t in s.steps]) for s in found]


def words(share: WorkShare) -> str:
    """The median share with its interval, and how many searches did not reach it."""
    return f"{share.median:.2f} ({share.low:.2f} to {share.high:.2f})" + f", {share.missed} missed" * bool(share.missed)


def said(found: Sequence[Search], measure: str) -> None:
    for share in shares(found):
        print(f"  {share.label:9} {words(share)} of its {measure}, n = {share.n} seeds")


def drawn(found: Sequence[Search]) -> Figure:
    """Mean hypervolume against mean work after each training, with standard errors."""
    whole = np.mean([s.steps[-1].work for s in found if s.contender.label == BARE])
    figure = Figure(figsize=(8, 4.2), dpi=200, layout="constrained")
    axes = figure.subplots()
    for label, color in COLORS.items():
        mine = [s for s in found if s.contender.label == label]
        work = np.array([[step.work / whole for step in s.steps] for s in mine]).mean(axis=0)
        scores = np.array([[step.score for step in s.steps] for s in mine])
        mean, error = scores.mean(axis=0), scores.std(axis=0, ddof=1) / np.sqrt(len(mine))
        axes.fill_between(work, mean - error, mean + error, color=color, alpha=0.14, linewidth=0)
        axes.plot(work, mean, color=color, linewidth=2.2)
        axes.plot(work[-1], mean[-1], "o", color=color, markersize=7)
        place = {"textcoords": "offset points", "fontsize": 11, "color": color}
        if label == BARE:
            axes.plot([0, work[-1]], [mean[-1]] * 2, color=color, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.annotate(NAMES[label], (work[-1], mean[-1]), (6, 9), ha="right", **place)
        else:
            axes.annotate(NAMES[label], (work[-1], mean[-1]), (9, -4), **place)
    mine = next(share for share in shares(found) if share.label == "hadnas")
    axes.set_title(
        f"hadnas reaches bare Optuna's hypervolume with {mine.median:.2f} of its training work (median, n = {mine.n})",
        loc="left",
        fontsize=11,
        color=INK,
    )
    axes.set_xlabel(f"training work; 1 = {TRIALS} trainings of bare Optuna", fontsize=11, color=INK)
    axes.set_ylabel("hypervolume, judged by fresh seeds", fontsize=11, color=INK)
    axes.margins(x=0.1)
    axes.set_xlim(0, None)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee", zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=10)
    return figure


def ends(found: Sequence[Search]) -> str:
    """The last scores of each sampler, with standard errors."""
    return ", ".join(f"{row.label} {row.mean:.3f} ± {row.error:.3f}" for row in summaries(found, (TRIALS,)))


def cheapest(least: float) -> str:
    """The fewest thousand MACs on each last front among networks that are judged so accurate; - where none is."""
    points, found = judged(), searches(read()["search"])
    texts = []
    for label in SAMPLERS:
        last = [list(met_fronts(rows))[-1] for (sampler, _), rows in sorted(found.items()) if sampler == label]
        macs = [[int(row["macs"]) for row in front if points[row["fingerprint"]][0] >= least] for front in last]
        texts.append(f"{label} {', '.join(f'{min(some) / 1e3:.0f}' if some else '-' for some in macs)}")
    return "; ".join(texts)


def main() -> None:
    between, noise, worst = pilot()
    print(f"pilot, n = {PILOTS} networks, 2 seeds: between networks {between:.4f}, between seeds {noise:.4f}")
    print(
        f"{len(judged())} networks judged by {len(JUDGES)} fresh seeds; reference: accuracy {worst:.4f}, {MOST:,} MACs"
    )
    found = scored(worst)
    for row in summaries(found, (10, 20, 30, TRIALS)):
        lead = f"lead {row.lead:+.3f} ± {row.lead_error:.3f}"
        print(
            f"{row.budget:3} {row.label:9} {row.mean:.3f} ± {row.error:.3f}, {lead}, work {row.work:.2f}, n = {row.n}"
        )
    print("to reach what bare TPE reaches in the end, median with its 95 % bootstrap interval:")
    said(found, "training work")
    said(by_trainings(found), "trainings")
    for other in (0.1, 0.8, 0.82):
        print(f"with a reference of accuracy {other}: {ends(scored(other))}")
        said(scored(other), "training work")
    for least in (0.81, 0.82, 0.825):
        print(f"thousand MACs of the cheapest with a judged accuracy of {least}: {cheapest(least)}")
    drawn(found).savefig(PICTURE)


if __name__ == "__main__":
    main()
