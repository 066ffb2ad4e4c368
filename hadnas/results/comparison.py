"""Networks beside each other: to draw, to choose one within limits, by backend, and the fronts of several studies.

Eager execution pays for every kernel launch; a compiler fuses element-wise operations. So the order of two networks may
depend on the backend, and a network found with one backend may be deployed on another.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure as Picture

from hadnas.errors import StudyError, unknown
from hadnas.measure.figures import RATIO, TABLE, constraints, metric_words, objectives, shown_in
from hadnas.measure.front import hypervolume, pareto_front, reference_point
from hadnas.measure.latency.pairs import NOISY
from hadnas.results.candidate import Found
from hadnas.results.plots import Ordinate, Point, draw_fronts
from hadnas.results.table import StudyResults


@dataclass(frozen=True)
class Comparison:
    """Front and baselines by backend: name -> backend -> figures (`median_ms`, `ratio`, ...), or a `reason`."""

    rows: dict[str, dict[str, Mapping[str, Any]]]

    @property
    def backends(self) -> list[str]:
        """Every backend with a measurement, eager first."""
        return list(dict.fromkeys(itertools.chain.from_iterable(self.rows.values())))

    def pairs(self, backend: str) -> tuple[list[tuple[str, str]], int]:
        """The pairs (faster, slower on eager) in the opposite order on `backend`, and the number of pairs compared.

        A pair counts only if its ratios differ on both backends by more than 5 % and by more than the larger of the
        two interquartile ranges.
        """
        known = {
            name: (row["eager"], row[backend])
            for name, row in self.rows.items()
            if "ratio" in row.get("eager", {}) and "ratio" in row.get(backend, {})
        }
        swapped = []
        pairs = list(itertools.combinations(known, 2))
        for pair in pairs:
            fast, slow = sorted(pair, key=lambda name: known[name][0]["ratio"])
            if _differ(known[fast][0], known[slow][0]) and _differ(known[slow][1], known[fast][1]):
                swapped.append((fast, slow))
        return swapped, len(pairs)


def comparison(results: StudyResults) -> Comparison:
    """The latencies of the current front and the baselines; empty if no further backend was timed."""
    rows = {found.name: results.latencies(found) for found in compared(results)}
    return Comparison({name: row for name, row in rows.items() if row})


def compared(results: StudyResults) -> list[Found]:
    """The networks that are timed on every backend: the front and the baselines."""
    return [found for found in (*results.front, *results.baselines) if found.feasible and found.arch is not None]


def _differ(fast: Mapping[str, Any], slow: Mapping[str, Any]) -> bool:
    return bool(slow["ratio"] / fast["ratio"] - 1 > max(NOISY, fast["ratio_iqr"], slow["ratio_iqr"]))


def ordinate_of(results: StudyResults) -> Ordinate:
    """The study's metric as a vertical axis."""
    metric = results.study.metric_figure
    return Ordinate(metric_words(metric), TABLE[metric].direction or "maximize")


def axis_label(name: str, backend: str | None) -> str:
    """The label of an axis of a cost or latency."""
    if name == RATIO:
        return f"latency ratio to the reference network ({backend}, batch 1)"
    figure = TABLE[name]
    return f"{figure.label}, {figure.unit}" if figure.unit else f"{figure.label} of one image"


def front_points(results: StudyResults, costs: Mapping[str, float]) -> list[Point]:
    """Candidates, those on the front of the metric and this cost among them, and baselines; `costs` by their names."""
    columns, direction = shown_in("report", metric=results.study.metric_figure), ordinate_of(results).direction
    rows = [found for found in results.distinct if found.name in costs]
    values = [(found.value, costs[found.name]) for found in rows]
    front = {rows[index].name for index in pareto_front(values, (direction, "minimize"))}

    def text(found: Found) -> str:
        return ", ".join(f"{results.text(found, figure)} {figure.label}" for figure in columns)

    return [
        Point(
            name=found.name,
            x=costs[found.name],
            value=found.value,
            error=found.standard_error,
            kind="baseline" if found.number is None else "front" if found.name in front else "candidate",
            text=f"{found.name}: {text(found)}\n{found.arch}",
        )
        for found in (*rows, *results.baselines)
        if found.feasible and found.name in costs
    ]


def cost_axis(results: StudyResults) -> str:
    """The figure against which the metric is drawn: the first objective that is a cost or latency, else the MACs."""
    return next((name for name in results.study.objectives if TABLE[name].source != "training"), "macs")


def chosen(results: StudyResults, limits: Mapping[str, float], metric: str | None = None) -> Found:
    """The best trained candidate within `limits` (figure -> largest value), by a figure that may be an objective.

    metric: by default that of the study. Ties are decided by that of the study, then by fewest MACs.

    No other candidate within the limits is better in `metric`, so it is on the front of the metric and the limited
    figures. Raises UnknownName for another figure, StudyError if no candidate is within the limits.
    """
    allowed = [figure.name for figure in constraints()]
    for name in limits:
        if name not in allowed:
            raise unknown("limit", name, allowed)
    metric = metric or results.study.metric_figure
    if metric not in objectives():
        raise unknown("metric", metric, objectives())
    left = [results.best, *results.ranked[1:]]  # raises if there is none
    for name, most in limits.items():
        known = [(value, found) for found in left if (value := results.comparable(found, name)) is not None]
        left = [found for value, found in known if value <= most]
        if not left:
            figure = TABLE[name]
            least = f"the smallest is {figure.text(min(value for value, _ in known))}" if known else "none is known"
            also = " within the other limits" if len(limits) > 1 else ""
            limit = figure.text(most)
            raise StudyError(
                f"study {results.name!r}: no {figure.label} of its networks{also} is at most {limit}; {least}"
            )
    sign = -1.0 if objectives()[metric] == "maximize" else 1.0
    judged = [(sign * value, found) for found in left if (value := results.comparable(found, metric)) is not None]
    if not judged:
        raise StudyError(f"study {results.name!r}: the {TABLE[metric].label} of its networks is not known")
    return min(judged, key=lambda item: (item[0], *item[1].rank()))[1]


@dataclass(frozen=True)
class Overlay:
    """The fronts of several studies with the same objectives.

    joint           study -> number of its networks on the front of all studies together; equal networks count in each
    volumes         study -> hypervolume of its front as a share of that of all together
    reference       worst value of each objective over the trained networks of all studies: the reference point
    warnings        sentences on differences that make the fronts incomparable
    same_trainings  whether the recipes, or the functions that train, are the same

    If the images differ, or the protocol of a latency among the objectives, the objectives cannot be compared: `joint`
    and `volumes` are empty.
    """

    studies: Sequence[StudyResults]
    joint: Mapping[str, int]
    volumes: Mapping[str, float]
    reference: tuple[float, ...]
    warnings: Sequence[str]
    same_trainings: bool

    def draw(self) -> Picture:
        """The metric against the first cost or latency among the objectives, or the MACs: the front of each study."""
        name = cost_axis(self.studies[0])
        fronts = {
            results.name: front_points(results, {found.name: found.figures[name] for found in results.front})
            for results in self.studies
        }
        label = axis_label(name, self.studies[0].study.latency)
        return draw_fronts(fronts, label, ordinate_of(self.studies[0]), log=TABLE[name].source == "cost")


def overlay(studies: Sequence[StudyResults]) -> Overlay:
    """Raises StudyError if one has no finished trial, or other objectives than the first."""
    first, *others = studies
    for results in studies:
        _ = results.best  # raises if there is none
        if set(results.study.objectives) != set(first.study.objectives):
            raise StudyError(
                f"the objectives of {first.name!r} are {', '.join(first.study.objectives)}, those of {results.name!r} "
                f"{', '.join(results.study.objectives)}; fronts of the same objectives can be compared"
            )
    names, directions = first.study.objectives, first.study.directions
    values = {results.name: [[f.figures[name] for name in names] for f in results.distinct] for results in studies}
    rows = [row for each in values.values() for row in each]
    owners = [name for name, each in values.items() for _ in each]
    front = [owners[index] for index in pareto_front(rows, directions)]
    reference = reference_point(rows, directions)
    whole = hypervolume(rows, directions, reference)
    volumes = {name: hypervolume(each, directions, reference) for name, each in values.items()}
    differences = [_differences(first, results) for results in others]
    kinds = set().union(*differences)
    timed = any(TABLE[name].source == "latency" for name in names)
    same = "images" not in kinds and not (timed and "latencies" in kinds)
    return Overlay(
        studies,
        {name: front.count(name) for name in values} if same else {},
        {name: volume / whole if whole else 1.0 for name, volume in volumes.items()} if same else {},
        reference,
        [sentence for found in differences for sentence in found.values()],
        "trainings" not in kinds,
    )


def _differences(one: StudyResults, other: StudyResults) -> dict[str, str]:
    """What differs between two studies and makes their figures incomparable: images, trainings, latencies, in words."""
    found = {}
    pair = f"{one.name!r} and {other.name!r}"
    if one.stored["digest"] != other.stored["digest"]:
        data = f"{one.study.data.source} and {other.study.data.source}"
        found["images"] = f"the images of {pair} differ ({data}): their metrics cannot be compared"
    settings, others = (
        {**dict(results.study.recipe), "evaluate": results.study.evaluate or "none"} for results in (one, other)
    )
    if changed := [f"{key} {settings[key]} and {others[key]}" for key in settings if settings[key] != others[key]]:
        found["trainings"] = f"the recipes of {pair} differ: {', '.join(changed)}"
    if one.protocol != other.protocol and None not in (one.protocol, other.protocol):
        protocols = _protocol(one), _protocol(other)
        keys = dict.fromkeys(key for protocol in protocols for key in protocol)
        left, right = ({key: protocol.get(key, "unknown") for key in keys} for protocol in protocols)
        changed = [f"{key} {left[key]} and {right[key]}" for key in keys if left[key] != right[key]]
        differ = f"the protocols of the latencies of {pair} differ"
        found["latencies"] = f"{differ}: {', '.join(changed) or 'they are unknown'}"
    return found


def _protocol(results: StudyResults) -> Mapping[str, Any]:
    """What defines the latencies of most networks of a study."""
    everyone = (*results.found, *results.baselines)
    timed = (found for found in everyone if found.notes.get("latency_protocol") == results.protocol)
    records = (results.latency(found) for found in timed)
    return next((record.protocol for record in records if record is not None), {})
