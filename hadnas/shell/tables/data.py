"""Prints a data set before training: classes, splits, files left out, and what its validation split can tell apart."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from hadnas.inputs import inputs_text
from hadnas.measure.figures import metric_words
from hadnas.measure.metrics.metric import METRICS

if TYPE_CHECKING:
    from hadnas.train.summary import DataSummary

LISTED_CLASSES = 10
"""The most classes that are named; of more the largest and the smallest are."""


def show_data(found: "DataSummary", console: Console) -> None:
    """Print a summary, a few lines for any number of classes."""
    table = Table(box=None, show_header=False, title="data", title_justify="left", title_style="bold", pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _rows(found):
        table.add_row(label, text)
    console.print(table)


def _rows(found: "DataSummary") -> list[tuple[str, str]]:
    train, val, test = (f"{size:,}" for size in found.sizes.values())
    memory = "" if found.in_memory else ", read from their files batch by batch"
    what = {"classes": "with training images", "labels": "with positive training images", "values": "mean ± deviation"}
    rows = [
        ("source", f"{found.source}: {_inputs(found)}{memory}"),
        ("splits", f"{train} train, {val} validation, {test} test: {found.split}"),
        (found.target, f"{len(found.names):,}, {what[found.target]}: {_targets(found)}"),
    ]
    rows += [("note", note) for note in found.notes]
    worth = METRICS[found.dummy.metric].text(found.dummy.value)
    rows.append(("dummy", f"{found.dummy.text}: validation {metric_words(found.dummy.metric)} {worth}"))
    if found.is_imbalanced:
        times = f"the largest class has {max(found.counts) / min(found.counts):,.3g} times the images of the smallest"
        advice = "ask for --metric balanced_accuracy, which counts all classes alike"
        rows.append(("imbalance", f"{times}{f': {advice}' if found.dummy.metric == 'accuracy' else ''}"))
    if found.target == "classes":
        half, high = (f"{found.noise(accuracy):.3f}".lstrip("0") for accuracy in (0.5, 0.9))
        near = f"if their accuracies differ by less than {half} near .5, or {high} near .9"
        judged = metric_words(found.dummy.metric)
        other = "" if judged == "accuracy" else f"; the ± of a result is one standard error of its {judged}"
        rows.append(("noise", f"two networks may be equal {near}{other}"))
    return rows


def _inputs(found: "DataSummary") -> str:
    """The size of the image, or the shapes of other inputs by name."""
    if len(found.inputs) > 1 or len(found.inputs[0][1]) != 3:
        return inputs_text(found.inputs)
    channels, height, width = found.inputs[0][1]
    colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    return f"{colours}, {width}x{height} pixels"


def _targets(found: "DataSummary") -> str:
    """The names with their training images, largest first, or with means and standard deviations."""
    if found.target == "values":
        moments = zip(found.names, found.values, strict=True)
        texts = [f"{_cut(name)} {mean:.4g} ± {std:.3g}" for name, (mean, std) in moments]
    else:
        ordered = sorted(zip(found.names, found.counts, strict=True), key=lambda row: -row[1])
        texts = [f"{_cut(name)} {count:,}" for name, count in ordered]
    if len(texts) > LISTED_CLASSES:
        first, last = LISTED_CLASSES // 2, LISTED_CLASSES // 4
        texts = [*texts[:first], f"... {len(texts) - first - last:,} more ...", *texts[-last:]]
    return ", ".join(texts)


def _cut(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:21]}..."
