"""What the shell prints of a study: leaderboard, finals, products, and what was refused."""

from collections import Counter

from rich.table import Table

from hadnas.blocks.registry import FAMILIES
from hadnas.models.families import families_text, family_counts
from hadnas.search.crossed import FEWEST_PAIRS
from hadnas.search.final import Final, lacking, opened_words
from hadnas.search.found import Found
from hadnas.search.front import standard_error
from hadnas.search.insight import effects
from hadnas.search.results import StudyResults
from hadnas.search.storage import Home
from hadnas.tables import console
from hadnas.tables.rankings import show_backends


def show_top(name: str, home: Home, count: int) -> None:
    """Leaderboard, Pareto front, best of each family, baselines, and what was refused and why."""
    results = StudyResults(name, home)
    ranked = results.ranked
    front = {found.name for found in results.front}
    baselines = [found for found in results.baselines if found.feasible]
    if not ranked and not baselines:
        _show_refused(results)
        _ = results.best  # says that there is none
    n = (ranked or baselines)[0].notes["val_n"]
    title = f"{name}: {len(ranked)} architectures, validation accuracy on n = {n} (± one standard error)"
    table = _table(title)
    for found in ranked[:count]:
        _add(table, results, found, "front" if found.name in front else "")
    for found in baselines:
        _add(table, results, found, "baseline")
    console.print(table)
    if results.timed_otherwise:
        console.print(results.timed_otherwise, highlight=False)
    if not ranked:
        _show_refused(results)
        return

    table = _table(f"Pareto front of {', '.join(results.study.objectives)}")
    for found in results.front:
        _add(table, results, found, "")
    console.print(table)

    table = _table("Best of each family (the family with the most blocks)")
    for family in FAMILIES:
        if best := next((found for found in ranked if found.family == family), None):
            _add(table, results, best, family)
    console.print(table)
    show_backends(results)
    trained = Counter(family for f in ranked if f.arch for family, k in family_counts(f.arch).items() if k)
    console.print("architectures with at least one of a family: " + ", ".join(f"{f} {trained[f]}" for f in FAMILIES))
    _show_refused(results)


def show_finals(study: str, finals: list[Final], opened: int) -> None:
    """Test accuracy of each network in the finals, and what the finalist it stands beside is ahead by."""
    some = next((final.accuracy for final in finals if final.accuracy is not None), None)
    title = f"{study}: finals, test accuracy with 95 % intervals"
    if some is not None:
        title += f" over {some.seeds} seeds and n = {some.n} images"
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for column in ("", "network", "MACs", "products", "test/accuracy", "interval", "seeds' std", "finalist ahead by"):
        table.add_column(column, no_wrap=column != "finalist ahead by")
    for final in finals:
        costs = ("", "") if final.costs is None else (short(final.costs.macs), short(final.costs.products))
        if final.accuracy is None:
            table.add_row(final.kind, final.name, *costs, "-", "", "", f"not trained: {final.reason}")
            continue
        found = final.accuracy
        spread = "" if found.seed_std is None else f"{found.seed_std:.4f}"
        interval = f"{found.low:.4f} to {found.high:.4f}"
        table.add_row(final.kind, final.name, *costs, f"{found.mean:.4f}", interval, spread, final.said)
    console.print(table)
    console.print(
        "intervals count the seeds and the images; differences are paired by both; a p-value needs "
        f"{FEWEST_PAIRS} seeds and is not corrected for the number of comparisons",
        highlight=False,
    )
    for said in (*lacking(finals), opened_words(opened)):
        console.print(said, highlight=False)


def show_effects(results: StudyResults, found: Found) -> None:
    """Every product of a trained candidate, on the study's validation images."""
    table = Table("product", "adds", "accuracy without", "lost", title=found.name, title_justify="left", box=None)
    seen = effects(results, found)
    for effect in seen:
        name = f"{effect.path}{f' [{effect.index}]' if effect.index else ''}"
        table.add_row(name, f"{effect.ratio:.3f}", f"{effect.without:.4f}", f"{effect.lost:+.4f}")
    console.print(table)
    if seen:
        whole = f"accuracy with all: {seen[0].accuracy:.4f} on n = {seen[0].n} validation images"
        console.print(f"{whole}; adds: RMS of what the product adds, over RMS of the rest", highlight=False)


def _show_refused(results: StudyResults) -> None:
    failed = [found for found in results.baselines if not found.feasible]
    if results.refused:
        console.print(f"refused: {results.refused_share}")
        for reason, times in results.reasons:
            console.print(f"  {times} x {reason[:100]}", highlight=False, markup=False)
    for found in failed:
        console.print(f"baseline {found.name} failed: {found.reason}", highlight=False, markup=False)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("name", no_wrap=True)
    for column in ("val/accuracy", "MACs", "params", "latency ms", "ratio", "products"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("families", no_wrap=True)
    return table


def _add(table: Table, results: StudyResults, found: Found, label: str) -> None:
    figures = found.figures
    accuracy = figures["val/accuracy"]
    noisy = "~" if found.notes.get("latency_noisy") else ""
    latency, ratio = (results.comparable(found, name) for name in ("latency_ms", "latency_ratio"))
    table.add_row(
        label,
        found.name + (" (reused)" if found.notes.get("reused") else ""),
        f"{accuracy:.4f} ±{standard_error(accuracy, found.notes['val_n']):.4f}",
        short(figures["macs"]),
        short(figures["params"]),
        "-" if latency is None else f"{latency:.3f}",
        "-" if ratio is None else f"{noisy}{ratio:.3f}",
        short(figures["products"]),
        families_text(family_counts(found.arch)) if found.arch else "",
    )


def short(number: float) -> str:
    """1234567 as 1.23M."""
    for scale, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g}{suffix}"
    return f"{number:.0f}"
