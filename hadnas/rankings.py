"""What the shell prints of rankings: by backend, by cost and prediction, by score without training."""

from rich.console import Console
from rich.table import Table

from hadnas.search.comparison import comparison
from hadnas.search.results import StudyResults

PAIRS = 6
"""Pairs that are named; of more only the number is said."""


def show_backends(console: Console, results: StudyResults) -> None:
    """Front and baselines by backend, and where the ranking changes; nothing where no other backend was taken."""
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
        said = f"{len(turned)} of {pairs} pairs change places, on eager {named}" if turned else "no pair changes places"
        console.print(f"{backend} against eager: {said} (apart by over 5 % and the noise on both)", highlight=False)
    for name, row in found.rows.items():
        for backend, figures in row.items():
            if "reason" in figures:
                console.print(f"{name} has no latency on {backend}: {figures['reason']}", highlight=False, markup=False)


def _cell(figures: dict[str, float] | None) -> str:
    if figures is None or "ratio" not in figures:
        return "-"
    return f"{'~' if figures['noisy'] else ''}{figures['ratio']:.3f} ({figures['median_ms']:.3f})"
