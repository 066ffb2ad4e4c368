"""How cost and latency grow with the resolution: networks over image sizes, and the exponent of each figure."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats
from torch import nn

from hadnas.errors import MeasurementError, at
from hadnas.measure.cost import cost
from hadnas.measure.latency.latency import latency

COUNTS_OF_SWEEP = ("macs", "products", "peak_activation_bytes")


@dataclass(frozen=True)
class Sized:
    """A network on square images: its figures are `COUNTS_OF_SWEEP`, and milliseconds of a forward pass by backend."""

    network: str
    side: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Exponent:
    """b of figure = a * pixels ** b, by least squares of the logarithms over `n` sizes, with its 95 % interval.

    The interval is that of Student's t with n - 2 degrees of freedom; None for two sizes. `last` is the exponent
    between the two largest sizes: it differs from b where terms of several degrees add up.
    """

    value: float
    low: float | None
    high: float | None
    last: float
    n: int

    def __str__(self) -> str:
        reach = "" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.value:.2f}{reach}"


def sweep(
    build: Mapping[str, Callable[[int], nn.Module]],
    sides: Sequence[int],
    channels: int,
    *,
    backends: Sequence[str] = ("eager",),
    **protocol: Any,
) -> Iterator[Sized]:
    """Count every network on images (channels, side, side) of every side; time them one after the other, as asked for.

    build: functions by name that make a network for a side
    protocol: further arguments of `hadnas.measure.latency.latency`

    Raises MeasurementError, before it returns, if there are fewer than two different sides or a network cannot
    take one of them.
    """
    if len(set(sides)) < 2 or len(set(sides)) != len(sides):
        raise MeasurementError(f"a sweep over the sizes {list(sides)}: allowed are two or more different ones")
    counted = {}
    for name, side in [(name, side) for name in build for side in sorted(sides)]:
        with at(f"{name} on images of {side} x {side}"):
            network = build[name](side)
            found = cost(network, (channels, side, side))
            counted[name, side] = network, {figure: float(getattr(found, figure)) for figure in COUNTS_OF_SWEEP}

    def timed() -> Iterator[Sized]:
        for (name, side), (network, figures) in counted.items():
            for backend in backends:
                taken = latency(network, (channels, side, side), backend=backend, **protocol)
                figures[f"{backend}_ms"] = taken.median_ms
            yield Sized(name, side, figures)

    return timed()


def exponents(points: Sequence[Sized]) -> dict[str, Exponent]:
    """The exponent of each figure of one network over its sizes; a figure that is 0 anywhere has none."""
    pixels = [math.log(point.side**2) for point in points]
    found = {}
    for name in points[0].figures:
        values = [point.figures[name] for point in points]
        if min(values) <= 0:
            continue
        logs = [math.log(value) for value in values]
        fit = stats.linregress(pixels, logs)
        reach = float(stats.t.ppf(0.975, len(points) - 2)) * float(fit.stderr) if len(points) > 2 else None
        last = (logs[-1] - logs[-2]) / (pixels[-1] - pixels[-2])
        value = float(fit.slope)
        low, high = (None, None) if reach is None else (value - reach, value + reach)
        found[name] = Exponent(value, low, high, last, len(points))
    return found


def write_sweep(path: Path, points: Sequence[Sized]) -> None:
    """Write a row for each network and size as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["network", "side", *points[0].figures])
        table.writerows([point.network, point.side, *point.figures.values()] for point in points)
