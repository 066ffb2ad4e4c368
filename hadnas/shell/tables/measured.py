"""Prints measurements: cost and latency of one network, or of several over the resolution; and the ledger."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hadnas.arch.task import Task
from hadnas.inputs import shape_text
from hadnas.limits import check_memory
from hadnas.measure.cost import cost
from hadnas.measure.figures import RATIO, TABLE, shown_in
from hadnas.measure.latency.latency import latency
from hadnas.measure.latency.sweep import COUNTS_OF_SWEEP, Sized, exponents
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid, print_left_out
from hadnas.store import listing
from hadnas.store.database import shown
from hadnas.store.ledger import Ledger

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIDDEN = {
    "id", "arch", "metrics", "versions", "recipe", "data", "code", "worker", "holder", "host", "pid", "heartbeat",
    "started", "finished", "created", "weights", "weights_sha256", "attempt", "protocol_json", "figures", "fit",
    "p90_ms", "min_ms", "iqr", "ratio_iqr",
}  # fmt: skip
"""Columns of the ledger that only its CSV has."""


OMITTED_FIRST = ("products", "val_n", "val_loss", "task", "reason")
"""Columns of the ledger that a narrow table leaves out first, the last before the others."""


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
    found = cost(network, *task.shapes)
    for batch in batches if device == "cpu" else ():  # on a small GPU, torch raises the error
        check_memory(batch * found.peak_activation_bytes, f"the forward of a batch of {batch}")
    sizes = " and ".join(map(shape_text, task.shapes))
    one = "image" if len(task.inputs) == 1 else "example"
    title = f"{name}: cost of one {one} {sizes}, {task.outputs} classes, float32"
    grid = Grid(Column(), Column(right=True), title=title)
    for figure in shown_in("measure", "cost"):
        grid.add(figure.label, figure.text(figure.of(found)))
    grid.print()
    console.print("calls, bytes moved and peak activations depend on how the module is written")
    figures = shown_in("measure", "latency")
    grid = Grid(
        Column("backend"),
        Column("batch", right=True),
        *(Column(figure.label, right=True) for figure in figures),
        Column("min", right=True, spare=1),
        Column("images/s", right=True),
        title=f"latency on {device}, {threads} thread{'s' * (threads > 1)}, {dtype}",
    )
    versions: dict[str, str] = {}
    for backend, batch in itertools.product(backends, batches):
        taken = latency(
            network,
            *task.shapes,
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
        grid.add(backend, str(batch), *texts, f"{taken.min_ms:.3f} ms", speed)
    print_left_out(grid.print())
    libraries = ", ".join(f"{library} {version}" for library, version in versions.items())
    machine = f"{taken.protocol['device_name']}, memory format {taken.protocol['memory_format']}, {libraries}"
    console.print(f"measured on {machine}")
    console.print(
        f"ratio: to the fixed reference network {taken.protocol['reference']}, timed alternately; "
        "~: its interquartile range is above 5 %",
    )


def show_sweep(points: Sequence[Sized], *, batch: int, device: str, threads: int, **protocol: Any) -> None:
    """A row for each network and size, then the exponents of each figure."""
    columns = list(points[0].figures)
    heads = [Column(_label(name), right=True) for name in columns]
    grid = Grid(Column("network", name=True), Column("side", right=True), *heads)
    for point in points:
        grid.add(point.network, str(point.side), *(_text(name, point.figures[name]) for name in columns))
    grid.print()
    fits = Grid(Column("exponent of", name=True), *heads, title="\nfigure = a * pixels ^ exponent")
    for network, own in itertools.groupby(points, key=lambda point: point.network):
        found = exponents(list(own))
        fits.add(network, *(str(found[name]) if name in found else "-" for name in columns))
        fits.add("  last two sizes", *(f"{found[name].last:.2f}" if name in found else "-" for name in columns))
    fits.print()
    sizes = len({point.side for point in points})
    console.print(
        f"least squares of the logarithms over {sizes} sizes, with 95 % intervals; latency of a batch of {batch} on "
        f"{device}, {threads} thread{'s' * (threads > 1)}; peak activations of one image, an estimate",
        soft_wrap=True,
    )


def draw_sweep(points: Sequence[Sized]) -> "Figure":
    """The figures of every network against the side of the image, logarithmic; those that are 0 are left out."""
    from hadnas.results.plots import draw_growth

    series: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for point in points:
        for name, value in point.figures.items():
            if value > 0:
                title = _label(name) + (", bytes" if name.endswith("_bytes") else "")
                series.setdefault(title, {}).setdefault(point.network, []).append((point.side, value))
    return draw_growth(series)


def _label(name: str) -> str:
    return TABLE[name].label if name in COUNTS_OF_SWEEP else name.replace("_ms", " ms")


def _text(name: str, value: float) -> str:
    return TABLE[name].text(value) if name in COUNTS_OF_SWEEP else f"{value:.3f}"


def show_ledger(ledger: Ledger, name: str | None, count: int) -> None:
    """The ledger's tables with their numbers of rows, or the last rows of one."""
    if name is None:
        console.print(f"ledger {shown(ledger.database.url)}", soft_wrap=True)
        grid = Grid(Column("table"), Column("rows", right=True))
        for known, number in listing.num_rows(ledger).items():
            grid.add(known, f"{number:,}")
        grid.print()
        return
    rows = [{**row, **_inside(row)} for row in listing.rows(ledger, name)]
    columns = [key for key in (rows[0] if rows else {}) if key not in HIDDEN]
    console.print(f"{name}: the last {min(count, len(rows)):,} of {len(rows):,} rows; every column with --csv")
    spare = {
        column: place for place, column in enumerate((*(c for c in columns if c not in OMITTED_FIRST), *OMITTED_FIRST))
    }
    grid = Grid(*(Column(column, name=True, spare=spare[column]) for column in columns))
    for row in rows[-count:]:
        grid.add(*(f"{row[key]:.5g}" if isinstance(row.get(key), float) else str(row.get(key)) for key in columns))
    print_left_out(grid.print())


def _inside(row: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a latency, or the errors of a stored predictor; empty for a damaged row."""
    figures, fit = row.get("figures"), row.get("fit")
    if not isinstance(fit, dict):
        return figures if isinstance(figures, dict) else {}
    rank = fit.get("rank")
    return {"n": fit.get("n"), "error": fit.get("error"), "rho": rank.get("rho") if isinstance(rank, dict) else None}
