"""Prints a study: leaderboard, Pareto front, best of each family, latency by backend, refused draws."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from hadnas.arch.families import LEGEND, MIXED, families_texts, family_counts, merge_counts
from hadnas.arch.node import Arch
from hadnas.blocks.registry import FAMILIES
from hadnas.measure.figures import TABLE, metric_words, objectives
from hadnas.measure.metrics.metric import METRICS
from hadnas.results.candidate import Found
from hadnas.results.comparison import Overlay, comparison
from hadnas.results.table import NOISY_RATIO, StudyResults
from hadnas.search.proposals.enqueued import queue_of
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid, drop_columns, print_left_out
from hadnas.store.home import Home
from hadnas.store.trials import REASON

SPARE = {"merges": 7, "blocks": 6, "latency_ms": 5, "products": 4, "params": 3}
"""What a narrow table leaves out first, the largest number before the others, unless it is an objective."""

REUSED_MARK = "*: reused, measured and trained before, here or in another study of this home"

PAIRS = 6
"""The most pairs that are named; their number is always printed."""


def show_top(name: str, home: Home, count: int) -> None:
    """Leaderboard, Pareto front, best of each family, baselines, and refused draws with reasons.

    The best of each family are left out if the leaderboard has all of them.
    """
    results = StudyResults(name, home)
    ranked = results.ranked
    front = {found.name for found in results.front}
    baselines = [found for found in results.baselines if found.feasible]
    if not ranked and not baselines:
        _show_left(results)
        _ = results.best  # raises, since there is none
    n = (ranked or baselines)[0].notes["val_n"]
    words = metric_words(results.study.metric_figure)
    title = f"{name}: {len(ranked)} architectures, validation {words} on n = {n} (± one standard error)"
    grid = networks_grid(results, title)
    for found in ranked[:count]:
        add_network(grid, results, found, "front" if found.name in front else "")
    for found in baselines:
        add_network(grid, results, found, "baseline")
    best = {family: found for found in reversed(ranked) if (family := found.family)}
    more = [_front(results)] if ranked else []
    if any(found not in ranked[:count] for found in best.values()):
        more.append(_families(results, best))
    drop_columns(grid, *more)
    left_out = grid.print()
    if "dummy" in results.stored:
        dummy = results.stored["dummy"]
        worth = METRICS[dummy["metric"]].text(dummy["value"])
        console.print(f"dummy: {dummy['text']}: {metric_words(dummy['metric'])} {worth}")
    if results.study.limits:
        console.print(f"constraints: {results.study.limits}")
    if results.timed_otherwise:
        console.print(results.timed_otherwise)
    if not ranked:
        print_left_out(left_out)
        _show_left(results)
        return

    console.print()
    for grid in more:
        grid.print()
        console.print()
    print_left_out(left_out)
    print_legend([*ranked[:count], *results.front, *baselines])
    _show_backends(results)
    for what, counts in (("block", family_counts), ("merge", merge_counts)):
        trained = Counter(family for f in ranked if f.arch for family, k in counts(f.arch).items() if k)
        console.print(f"architectures with a {what} of a family: " + ", ".join(f"{f} {trained[f]}" for f in FAMILIES))
    if results.unknown_blocks:
        console.print(f"families are not counted everywhere: {results.unknown_blocks}", soft_wrap=True)
    _show_left(results)


def _front(results: StudyResults) -> Grid:
    grid = networks_grid(results, f"Pareto front of {', '.join(results.study.objectives)}")
    for found in results.front:
        add_network(grid, results, found, "")
    return grid


def _families(results: StudyResults, best: Mapping[str, Found]) -> Grid:
    grid = networks_grid(results, f"Best of each family (the family of most blocks; {MIXED}: another has as many)")
    for family in (*FAMILIES, MIXED):
        if family in best:
            add_network(grid, results, best[family], family)
        else:
            grid.add(family)
    return grid


def _show_backends(results: StudyResults) -> None:
    """Front and baselines by backend, and changes of their ranking; nothing if only one backend was timed."""
    found = comparison(results)
    if not found.rows:
        return
    columns = (Column(f"{backend}: ratio (ms)", right=True) for backend in found.backends)
    grid = Grid(Column("name", name=True), *columns, title="Latency by backend")
    for name, row in found.rows.items():
        grid.add(name, *(_cell(row.get(backend)) for backend in found.backends))
    grid.print()
    for backend in found.backends[1:]:
        turned, pairs = found.pairs(backend)
        named = "; ".join(f"{fast} before {slow}" for fast, slow in turned[:PAIRS]) + "; ..." * (len(turned) > PAIRS)
        change = (
            f"{len(turned)} of {pairs} pairs change places, on eager {named}" if turned else "no pair changes places"
        )
        console.print(f"{backend} against eager: {change} (pairs that differ by over 5 % and the noise on both)")
    for name, row in found.rows.items():
        for backend, figures in row.items():
            if REASON in figures:
                console.print(f"{name} has no latency on {backend}: {figures[REASON]}")


def _cell(figures: Mapping[str, Any] | None) -> str:
    if figures is None or "ratio" not in figures:
        return "-"
    return f"{'~' if figures['noisy'] else ''}{figures['ratio']:.3f} ({figures['median_ms']:.3f})"


def _show_left(results: StudyResults) -> None:
    """What is not in the leaderboard: stopped at a rung, refused, damaged, failed."""
    if results.stopped:
        words = metric_words(results.study.metric_figure)
        console.print(f"stopped at a rung, without a final {words}: {len(results.stopped)} architectures")
    for rung, some in groupby(sorted(results.stopped, key=_rung), _rung):
        names = ", ".join(found.name for found in some)
        console.print(f"  after epoch {rung} of {results.study.recipe.epochs}: {names}", soft_wrap=True)
    failed = [found for found in results.baselines if found.state == "pruned"]
    if results.refused:
        console.print(f"refused: {results.refused_share}")
        for reason, times in results.reasons:
            console.print(f"  {times} x {reason[:100]}")
    for found in results.damaged:
        console.print(f"{found.name} is damaged and left out: {found.reason}")
    for found in failed:
        console.print(f"baseline {found.name} failed: {found.reason}")


def _rung(found: Found) -> int:
    return found.rung or 0


def networks_grid(results: StudyResults, title: str) -> Grid:
    """A table of networks with their figures and families, for `add_network`."""
    figures = (
        Column(
            figure.label,
            right=True,
            spare=0
            if figure.source == "training" or figure.name in results.study.objectives
            else SPARE.get(figure.name, 2),
        )
        for figure in results.columns
    )
    return Grid(
        Column(name=True),
        Column("name", name=True),
        *figures,
        *(Column(what, spare=SPARE[what]) for what in ("blocks", "merges")),
        title=title,
    )


def add_network(grid: Grid, results: StudyResults, found: Found, label: str) -> None:
    """Add a trial or baseline under a label."""
    name = found.name + "*" * bool(found.notes.get("reused"))
    figures = (results.text(found, figure, brief=True) for figure in results.columns)
    grid.add(label, name, *figures, *families_texts(found.arch))


def show_enqueued(name: str, home: Home, queue: Mapping[str, Arch]) -> None:
    """What became of each enqueued architecture, now or by `hadnas distill`: its trial or baseline with its figures."""
    queue = {**queue_of(name, home), **queue}
    if not queue:
        return
    results = StudyResults(name, home)
    trials = {found.arch.fingerprint: found for found in results.found if found.arch}
    baselines = {found.name: found for found in results.baselines}
    for label, arch in queue.items():
        found = trials.get(arch.fingerprint) or baselines.get(label)
        kind = "baseline " if found is not None and found.number is None else ""
        console.print(f"enqueued {label}: {kind}{found!r}" if found else f"enqueued {label}: not judged yet")


def show_picked(results: StudyResults, found: Found, limits: Mapping[str, float], metric: str) -> None:
    """The chosen network, with how it was chosen."""
    within = " and ".join(f"{TABLE[name].label} of at most {TABLE[name].text(most)}" for name, most in limits.items())
    best = f"{'highest' if objectives()[metric] == 'maximize' else 'smallest'} {TABLE[metric].label}"
    n = len(results.distinct)
    title = f"{found.name} of {results.name}: {best} of {n} networks{f', with {within}' * bool(within)}"
    grid = Grid(Column(), Column(wraps=True), title=title)
    for figure in dict.fromkeys((*results.columns, TABLE[metric], *(TABLE[name] for name in limits))):
        grid.add(figure.label, results.text(found, figure))
    for what, text in zip(("blocks", "merges"), families_texts(found.arch), strict=True):
        grid.add(what, text)
    grid.add("front", "yes" if found in results.front else f"no: not of {', '.join(results.study.objectives)}")
    grid.print()
    print_legend([found])


def show_overlay(found: Overlay) -> None:
    """The front of each study, and what each contributes to that of all together."""
    first = found.studies[0]
    for warning in found.warnings:
        console.print(f"warning: {warning}")
    grid = networks_grid(first, f"Pareto fronts of {', '.join(first.study.objectives)}")
    for results in found.studies:
        for place, each in enumerate(results.front):
            add_network(grid, results, each, results.name if place == 0 else "")
    left_out = grid.print()
    console.print()
    metric = first.study.metric_figure
    words = metric_words(metric)
    heads = ("networks", *(("on the common front", "hypervolume share") if found.volumes else ()))
    summary = Grid(
        Column("study", name=True), Column(f"best {words}", right=True), *(Column(h, right=True) for h in heads)
    )
    for results in found.studies:
        best = results.text(results.best, TABLE[metric])
        shares = [str(found.joint[results.name]), f"{found.volumes[results.name]:.3f}"] if found.volumes else []
        summary.add(results.name, best, str(len(results.distinct)), *shares)
    summary.print()
    console.print()
    if found.volumes:
        points = zip(first.study.objectives, found.reference, strict=True)
        worst = ", ".join(f"{name} {TABLE[name].text(value)}" for name, value in points)
        console.print(f"share: of the hypervolume of all networks together; reference point, the worst of all: {worst}")
        if not found.same_trainings:
            console.print("the trainings differ, so the shares compare them, too, not the networks alone")
    else:
        console.print("no shares of a hypervolume: the objectives of these studies cannot be compared")
    print_left_out(left_out)
    print_legend([each for results in found.studies for each in results.front])


def print_legend(shown: Sequence[Found]) -> None:
    """Explain the marks of tables of networks: those that occur, and the letters of the families."""
    if any(found.notes.get("latency_noisy") for found in shown):
        console.print(NOISY_RATIO)
    if any(found.notes.get("reused") for found in shown):
        console.print(REUSED_MARK)
    console.print(LEGEND)
