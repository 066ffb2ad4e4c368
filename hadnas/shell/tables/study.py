"""Prints a study: leaderboard, Pareto front, best of each family, latency by backend, refused draws."""

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from rich.table import Table

from hadnas.arch.families import LEGEND, MIXED, families_texts, family_counts, merge_counts
from hadnas.blocks.registry import FAMILIES
from hadnas.measure.figures import metric_words, shown_in
from hadnas.measure.metrics.metric import METRICS
from hadnas.results.candidate import Found
from hadnas.results.comparison import comparison
from hadnas.results.table import NOISY_RATIO, StudyResults
from hadnas.shell.tables import console
from hadnas.store.home import Home
from hadnas.store.trials import REASON

PAIRS = 6
"""The most pairs that are named; their number is always printed."""


def show_top(name: str, home: Home, count: int) -> None:
    """Leaderboard, Pareto front, best of each family, baselines, and refused draws with reasons."""
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
    table = _table(results, title)
    for found in ranked[:count]:
        _add(table, results, found, "front" if found.name in front else "")
    for found in baselines:
        _add(table, results, found, "baseline")
    console.print(table)
    if "dummy" in results.stored:
        dummy = results.stored["dummy"]
        worth = METRICS[dummy["metric"]].text(dummy["value"])
        console.print(f"dummy: {dummy['text']}: {metric_words(dummy['metric'])} {worth}")
    if results.study.limits:
        console.print(f"constraints: {results.study.limits}")
    if results.timed_otherwise:
        console.print(results.timed_otherwise)
    if not ranked:
        _show_left(results)
        return

    table = _table(results, f"Pareto front of {', '.join(results.study.objectives)}")
    for found in results.front:
        _add(table, results, found, "")
    console.print(table)

    table = _table(results, f"Best of each family (the family of most blocks; {MIXED}: another has as many)")
    for family in (*FAMILIES, MIXED):
        if best := next((found for found in ranked if found.family == family), None):
            _add(table, results, best, family)
        else:
            table.add_row(family)
    console.print(table)
    console.print(NOISY_RATIO)
    console.print(LEGEND)
    _show_backends(results)
    for what, counts in (("block", family_counts), ("merge", merge_counts)):
        trained = Counter(family for f in ranked if f.arch for family, k in counts(f.arch).items() if k)
        console.print(f"architectures with a {what} of a family: " + ", ".join(f"{f} {trained[f]}" for f in FAMILIES))
    if results.unknown_blocks:
        console.print(f"families are not counted everywhere: {results.unknown_blocks}", soft_wrap=True)
    _show_left(results)


def _show_backends(results: StudyResults) -> None:
    """Front and baselines by backend, and changes of their ranking; nothing if only one backend was timed."""
    found = comparison(results)
    if not found.rows:
        return
    table = Table(title="Latency by backend", title_justify="left", box=None)
    table.add_column("name", no_wrap=True)
    for backend in found.backends:
        table.add_column(f"{backend}: ratio (ms)", justify="right", no_wrap=True)
    for name, row in found.rows.items():
        table.add_row(name, *(_cell(row.get(backend)) for backend in found.backends))
    console.print(table)
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


def _table(results: StudyResults, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("name", no_wrap=True)
    for figure in shown_in("top", metric=results.study.metric_figure):
        table.add_column(figure.label, justify="right", no_wrap=True)
    for column in ("blocks", "merges"):
        table.add_column(column, no_wrap=True)
    return table


def _add(table: Table, results: StudyResults, found: Found, label: str) -> None:
    name = found.name + (" (reused)" if found.notes.get("reused") else "")
    columns = shown_in("top", metric=found.metric)
    figures = (results.text(found, figure, brief=True) for figure in columns)
    table.add_row(label, name, *figures, *families_texts(found.arch))
