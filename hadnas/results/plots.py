"""Figures of a study, drawn from plain values: front, history, importances, differences with intervals.

`draw_*` give a figure of matplotlib, `plot_*` SVG text.

Colours are those of Okabe and Ito, which colour-blind people distinguish; marks also differ by shape. Text stays text.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from hadnas.errors import printable
from hadnas.measure.figures import Direction
from hadnas.train.stress.stress import OF_IMAGES

BLACK, ORANGE, SKY, GREEN, BLUE, RED = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"
_COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, BLACK)
_SVG = "{http://www.w3.org/2000/svg}"
_MARKS = {"candidate": (SKY, "o", 22), "front": (BLUE, "o", 42), "baseline": (RED, "^", 42)}
_LOOK = {"svg.fonttype": "none", "svg.hashsalt": "hadnas", "axes.spines.top": False, "axes.spines.right": False}


@dataclass(frozen=True)
class Ordinate:
    """The vertical axis: a metric in words, and the direction of better values."""

    metric: str
    direction: Direction


@dataclass(frozen=True)
class Point:
    """A network in a plot of a metric against cost: `error` is one standard error, `text` is shown on hover."""

    name: str
    x: float
    value: float
    error: float
    kind: str  # "candidate", "front" or "baseline"
    text: str


def plot_front(points: Sequence[Point], unit: str, ordinate: Ordinate, *, log: bool) -> str:
    """The figure of `draw_front` as SVG, with the texts of the points on hover."""
    texts = {kind: [point.text for point in points if point.kind == kind] for kind in _MARKS}
    return _hover(_text(draw_front(points, unit, ordinate, log=log)), texts)


def draw_front(points: Sequence[Point], unit: str, ordinate: Ordinate, *, log: bool) -> Figure:
    """A metric against a cost: candidates, baselines, and the front as a step line of the best value up to a cost.

    unit: the label of the cost axis, such as "MACs" or "latency ratio (eager, batch 1)".
    """
    figure, axes = _axes(8.0, 4.0)
    for kind, (colour, mark, size) in _MARKS.items():
        some = [(point.x, point.value, point.error) for point in points if point.kind == kind]
        if some:
            xs, ys, errors = zip(*some, strict=True)
            axes.errorbar(xs, ys, errors, color=colour, alpha=0.35, linewidth=1, zorder=1, fmt="none")
            dots = axes.scatter(xs, ys, s=size, c=colour, marker=mark, zorder=3, label=kind)
            dots.set_gid(_group(kind))
    best = sorted((point.x, point.value) for point in points if point.kind == "front")
    if best:
        end = max(point.x for point in points)
        axes.step(
            [x for x, _ in best] + [end], [y for _, y in best] + [best[-1][1]], where="post", color=BLUE, linewidth=1.2
        )
    _axis(axes, unit, ordinate, log=log)
    return figure


def draw_fronts(fronts: Mapping[str, Sequence[Point]], unit: str, ordinate: Ordinate, *, log: bool) -> Figure:
    """The fronts of several studies in one figure, each in its colour and mark, as `draw_front` draws one."""
    figure, axes = _axes(8.0, 4.0)
    looks = zip((BLUE, ORANGE, GREEN, RED, SKY, BLACK), "o^sDvP", strict=True)
    for (name, points), (colour, mark) in zip(fronts.items(), cycle(looks), strict=False):
        best = sorted((point.x, point.value, point.error) for point in points)
        xs, ys, errors = zip(*best, strict=True)
        axes.errorbar(xs, ys, errors, color=colour, alpha=0.35, linewidth=1, fmt="none")
        axes.plot(xs, ys, color=colour, marker=mark, drawstyle="steps-post", linewidth=1.2, label=_label(name))
    _axis(axes, unit, ordinate, log=log)
    return figure


def plot_history(
    trials: Sequence[tuple[int, float]], baselines: Sequence[tuple[str, float]], ordinate: Ordinate
) -> str:
    """The figure of `draw_history` as SVG."""
    return _text(draw_history(trials, baselines, ordinate))


def draw_history(
    trials: Sequence[tuple[int, float]], baselines: Sequence[tuple[str, float]], ordinate: Ordinate
) -> Figure:
    """A metric by the number of the trial, the best so far as a step line, baselines as dotted lines."""
    figure, axes = _axes(8.0, 3.2)
    numbers, values = [number for number, _ in trials], [value for _, value in trials]
    best = list(accumulate(values, max if ordinate.direction == "maximize" else min))
    axes.scatter(numbers, values, s=22, c=SKY, label="candidate")
    axes.step(numbers, best, where="post", color=BLUE, label="best so far")
    for (name, value), style in zip(baselines, _styles(len(baselines)), strict=True):
        axes.axhline(value, color=RED, linewidth=1, linestyle=style, label=_label(name))
    axes.set_xlabel("trial")
    axes.set_ylabel(f"validation {ordinate.metric}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    return figure


def plot_bars(names: Sequence[str], values: Sequence[float], label: str) -> str:
    """The figure of `draw_bars` as SVG."""
    return _text(draw_bars(names, values, label))


def draw_bars(names: Sequence[str], values: Sequence[float], label: str) -> Figure:
    """Horizontal bars, the first on top."""
    figure, axes = _axes(8.0, 0.8 + 0.26 * len(names))
    axes.barh(range(len(names)), values, color=BLUE)
    axes.set_yticks(range(len(names)), map(_label, names), fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return figure


def draw_growth(series: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]) -> Figure:
    """Figures against the side of the image, both logarithmic, an axis for each: figure -> network -> (side, value)."""
    rows = -(-len(series) // 3)
    networks = dict.fromkeys(network for lines in series.values() for network in lines)
    looks = dict(zip(networks, zip(cycle(_COLOURS), cycle("osD^vX"), strict=False), strict=False))
    handles: dict[str, Any] = {}
    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(3.2 * min(3, len(series)), 2.9 * rows), layout="constrained")
        for place, (name, lines) in enumerate(series.items(), 1):
            axes = figure.add_subplot(rows, min(3, len(series)), place)
            for network, points in lines.items():
                color, mark = looks[network]
                (handles[_label(network)],) = axes.plot(
                    *zip(*points, strict=True), marker=mark, markersize=4, color=color
                )
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            ticks = sorted({side for points in lines.values() for side, _ in points})
            axes.set_xticks(ticks, list(map(str, ticks)))
            axes.yaxis.set_major_formatter(EngFormatter(sep=""))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("side of the image")
            axes.set_title(name, fontsize="medium")
    figure.legend(handles.values(), handles, frameon=False, fontsize="small", loc="outside upper center", ncols=4)
    return figure


def plot_strengths(series: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]], label: str) -> str:
    """A metric against the strength of each kind of stress, an axis for each kind: kind -> network -> points.

    A point is (strength, mean, low, high).
    """
    networks = dict.fromkeys(network for lines in series.values() for network in lines)
    looks = dict(zip(networks, zip(cycle(_COLOURS), cycle("osD^vX"), strict=False), strict=False))
    handles: dict[str, Any] = {}
    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(2.6 * max(2, len(series)), 3.2), layout="constrained")
        axes = figure.subplots(1, len(series), sharey=True, squeeze=False)[0]
        for place, (kind, lines) in enumerate(series.items()):
            for network, points in lines.items():
                (colour, mark), (xs, means, lows, highs) = looks[network], zip(*points, strict=True)
                axes[place].fill_between(xs, lows, highs, color=colour, alpha=0.12, linewidth=0)
                (handles[_label(network)],) = axes[place].plot(xs, means, marker=mark, markersize=4, color=colour)
            axes[place].set_title(kind, fontsize="medium")
            axes[place].set_xlabel("strength" if kind in OF_IMAGES else "share pruned")
        axes[0].set_ylabel(label)
        figure.legend(handles.values(), handles, frameon=False, fontsize="small", loc="outside upper center", ncols=3)
    return _text(figure)


def plot_intervals(names: Sequence[str], values: Sequence[tuple[float, float, float]], label: str) -> str:
    """Means (mean, low, high) with their intervals, the first on top, and a line at zero."""
    figure, axes = _axes(8.0, 0.9 + 0.26 * len(names))
    for place, (mean, low, high) in enumerate(values):
        colour = BLACK if low <= 0 <= high else GREEN if mean > 0 else ORANGE
        axes.plot([low, high], [place, place], color=colour, linewidth=1.2)
        axes.scatter([mean], [place], s=22, c=colour, zorder=3)
    axes.axvline(0, color=BLACK, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names)), map(_label, names), fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return _text(figure)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def _axis(axes: Axes, unit: str, ordinate: Ordinate, *, log: bool) -> None:
    """Label the axes of a metric against a cost, and place the legend. Ticks of a logarithmic one are as 200k, 1.5M."""
    if log:
        low, high = axes.dataLim.intervalx
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high >= 10 * low else MaxNLocator(6))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(unit + (", log scale" if log else ""))
    axes.set_ylabel(f"validation {ordinate.metric} (± 1 standard error)")
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Place the legend beside the plot, where it covers no point."""
    axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _label(name: str) -> str:
    """A name for matplotlib: it reads text between two dollars as a formula, and XML has no control characters."""
    return printable(name).replace("$", r"\$")


def _styles(count: int) -> list[Any]:
    return [(0, (1 + index, 2)) for index in range(count)]


def _text(figure: Figure) -> str:
    out = io.StringIO()
    with matplotlib.rc_context(_LOOK):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _group(kind: str) -> str:
    """The id of the marks of a kind of points in the SVG."""
    return f"points-{kind}"


def _hover(svg: str, texts: Mapping[str, Sequence[str]]) -> str:
    """Give the marks of each kind of points, in their order, texts that browsers show on hover."""
    ElementTree.register_namespace("", _SVG.strip("{}"))
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)
    groups = {group.get("id"): group for group in root.iter(f"{_SVG}g")}
    for kind, some in texts.items():
        if some:
            for mark, text in zip(groups[_group(kind)].iter(f"{_SVG}use"), some, strict=True):
                ElementTree.SubElement(mark, f"{_SVG}title").text = printable(text)
    return ElementTree.tostring(root, encoding="unicode")
