"""Prints a data set before training: classes, splits, files left out, and what its validation split can tell apart."""

from rich.console import Console
from rich.table import Table

from hadnas.train.data.summary import IMBALANCED, DataSummary

LISTED_CLASSES = 10
"""The most classes that are named; of more the largest and the smallest are."""


def show_data(found: DataSummary, console: Console) -> None:
    """Print a summary, a few lines for any number of classes."""
    table = Table(box=None, show_header=False, title="data", title_justify="left", title_style="bold", pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _rows(found):
        table.add_row(label, text)
    console.print(table)


def _rows(found: DataSummary) -> list[tuple[str, str]]:
    train, val, test = (f"{size:,}" for size in found.sizes.values())
    channels, height, width = found.shape
    colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    memory = "" if found.in_memory else ", read from their files batch by batch"
    rows = [
        ("source", f"{found.source}: {colours}, {width}x{height} pixels{memory}"),
        ("splits", f"{train} train, {val} validation, {test} test: {found.split}"),
        ("classes", f"{len(found.counts):,}, with training images: {_classes(found)}"),
    ]
    rows += [("note", note) for note in found.notes]
    name, share = found.dummy
    rows.append(("dummy", f"always {_cut(name)}, the most frequent: validation accuracy {share:.4f}"))
    if found.ratio >= IMBALANCED:
        times = f"the largest class has {found.ratio:,.3g} times the images of the smallest"
        rows.append(("imbalance", f"{times}: ask for --metric balanced_accuracy, which counts all classes alike"))
    half, high = (f"{found.noise(accuracy):.3f}".lstrip("0") for accuracy in (0.5, 0.9))
    rows.append(("noise", f"two networks may be equal if they differ by less than {half} near .5, or {high} near .9"))
    return rows


def _classes(found: DataSummary) -> str:
    """The names with their training images, largest first."""
    ordered = sorted(found.counts, key=lambda row: -row[1])
    texts = [f"{_cut(name)} {count:,}" for name, count, _ in ordered]
    if len(texts) > LISTED_CLASSES:
        first, last = LISTED_CLASSES // 2, LISTED_CLASSES // 4
        texts = [*texts[:first], f"... {len(texts) - first - last:,} more ...", *texts[-last:]]
    return ", ".join(texts)


def _cut(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:21]}..."
