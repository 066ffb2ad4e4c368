"""Prints and draws how networks grow with the resolution."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hadnas.measure.figures import TABLE
from hadnas.measure.latency.sweep import COSTS, Sized, exponents
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_sweep(points: Sequence[Sized], *, batch: int, device: str, threads: int, **protocol: Any) -> None:
    """A row for each network and size, then the exponents of each figure."""
    columns = list(points[0].figures)
    heads = [Column(_label(name), right=True) for name in columns]
    grid = Grid(Column("network", name=True), Column("side", right=True), *heads)
    for point in points:
        grid.add(point.network, str(point.side), *(_text(name, point.figures[name]) for name in columns))
    grid.print()
    fits = Grid(Column("exponent of", name=True), *heads, title="\nfigure = a * pixels ^ exponent")
    for network, own in groupby(points, key=lambda point: point.network):
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
    return TABLE[name].label if name in COSTS else name.replace("_ms", " ms")


def _text(name: str, value: float) -> str:
    return TABLE[name].text(value) if name in COSTS else f"{value:.3f}"
