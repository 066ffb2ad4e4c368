"""Prints measurements: cost and latency of one network, and the ledger."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.table import Table
from torch import nn

from hadnas.arch.task import Task
from hadnas.limits import check_memory
from hadnas.measure.cost import cost
from hadnas.measure.figures import RATIO, shown_in
from hadnas.measure.latency.latency import latency
from hadnas.shell.tables import console
from hadnas.store import listing
from hadnas.store.database import shown
from hadnas.store.ledger import Ledger

HIDDEN = {
    "id", "arch", "metrics", "versions", "recipe", "data", "code", "worker", "holder", "host", "pid", "heartbeat",
    "started", "finished", "created", "weights", "weights_sha256", "attempt", "protocol_json", "figures", "fit",
    "p90_ms", "min_ms", "iqr", "ratio_iqr",
}  # fmt: skip
"""Columns of the ledger that only its CSV has."""

WIDEST = 400  # columns of text: wide enough that no row of the ledger is cut in a file


def show_measured(
    name: str,
    network: nn.Module,
    task: Task,
    *,
    batches: Sequence[int],
    backends: Sequence[str],
    device: str,
    threads: int,
    dtype: str,
    seconds: float,
) -> None:
    """Costs of a network, and its latency per backend and batch, with the ratio to the reference network."""
    found = cost(network, task.shape)
    for batch in batches if device == "cpu" else ():  # on a small GPU, torch raises the error
        check_memory(batch * found.peak_activation_bytes, f"the forward of a batch of {batch}")
    size = "x".join(map(str, task.shape))
    title = f"{name}: cost of one image {size}, {task.outputs} classes, float32"
    table = Table(title=title, title_justify="left", box=None)
    figures = shown_in("measure", "cost")
    for figure in figures:
        table.add_column(figure.label, justify="right")
    table.add_row(*(figure.text(figure.of(found)) for figure in figures))
    console.print(table)
    console.print("calls, bytes moved and peak activations depend on how the module is written")
    table = Table(
        title=f"latency on {device}, {threads} thread{'s' * (threads > 1)}, {dtype}", title_justify="left", box=None
    )
    figures = shown_in("measure", "latency")
    for column in ("backend", "batch", *(figure.label for figure in figures), "min", "images/s"):
        table.add_column(column, justify="left" if column == "backend" else "right")
    versions: dict[str, str] = {}
    for backend, batch in itertools.product(backends, batches):
        taken = latency(
            network,
            task.shape,
            batch=batch,
            device=device,
            threads=threads,
            dtype=getattr(torch, dtype),
            backend=backend,
            seconds=seconds,
        )
        versions |= taken.protocol["versions"]
        texts = ["~" * (taken.noisy and f.name == RATIO) + f.text(f.of(vars(taken))) for f in figures]
        speed = f"{1000 * batch / taken.median_ms:.4g}"
        table.add_row(backend, str(batch), *texts, f"{taken.min_ms:.3f} ms", speed)
    console.print(table)
    libraries = ", ".join(f"{library} {version}" for library, version in versions.items())
    machine = f"{taken.protocol['device_name']}, memory format {taken.protocol['memory_format']}, {libraries}"
    console.print(f"measured on {machine}")
    console.print(
        f"ratio: to the fixed reference network {taken.protocol['reference']}, timed alternately; "
        "~: its interquartile range is above 5 %",
    )


def show_ledger(ledger: Ledger, name: str | None, count: int) -> None:
    """The ledger's tables with their numbers of rows, or the last rows of one."""
    if name is None:
        console.print(f"ledger {shown(ledger.database.url)}", soft_wrap=True)
        table = Table("table", "rows", box=None)
        for known, number in listing.num_rows(ledger).items():
            table.add_row(known, f"{number:,}")
        console.print(table)
        return
    rows = [{**row, **_inside(row)} for row in listing.rows(ledger, name)]
    columns = [key for key in (rows[0] if rows else {}) if key not in HIDDEN]
    console.print(f"{name}: the last {min(count, len(rows)):,} of {len(rows):,} rows; every column with --csv")
    table = Table(box=None)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows[-count:]:
        table.add_row(*(f"{row[key]:.5g}" if isinstance(row.get(key), float) else str(row.get(key)) for key in columns))
    console.print(table, width=None if console.is_terminal else WIDEST)


def _inside(row: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a latency, or the errors of a stored predictor; empty for a damaged row."""
    figures, fit = row.get("figures"), row.get("fit")
    if not isinstance(fit, dict):
        return figures if isinstance(figures, dict) else {}
    rank = fit.get("rank")
    return {"n": fit.get("n"), "error": fit.get("error"), "rho": rank.get("rho") if isinstance(rank, dict) else None}
