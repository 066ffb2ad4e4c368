"""The table of figures of a network, from which objectives, constraints, columns, cards and options derive.

To add a figure, add an entry to `_FIGURES`. Every evaluation then computes it and logs it to MLflow, a study may
optimise or constrain it, `study.trials_dataframe(full=True)` has it as a column, and the displays that the entry names
show it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any, Literal

from hadnas.measure.metrics.metric import METRICS, Metric

Direction = Literal["maximize", "minimize"]
Origin = Literal["cost", "latency", "training"]
Display = Literal["top", "report", "card", "finals", "measure", "proxies", "view"]

VAL, RATIO = "val/", "latency_ratio"
"""The beginning of the name of a metric of the validation split; the name of a figure."""


def count(value: float) -> str:
    """1234567 as 1,234,567."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """1234567 as 1.23M."""
    for scale, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g}{suffix}"
    return f"{value:.0f}"


def mebibytes(value: float) -> str:
    """1234567 as 1.2 MiB."""
    return f"{value / 2**20:.1f} MiB"


@dataclass(frozen=True)
class Figure:
    """One figure.

    name       in studies and in MLflow
    label      the head of its column
    unit       of the value; "" for a count or a ratio
    direction  of better values; None if it cannot be an objective
    about      its definition, in one line
    source     "cost", "latency" or "training"
    of         computes it from a `Cost` or the ledger's `Costs`, from the figures of a latency (a mapping such as
               `{"median_ms": 0.2}`), or from a training and each of its epochs (`metrics`, `val_loss`, `seconds`)
    places     displays that show it: `top`, the report, the model card, the finals, `hadnas measure`, `hadnas proxies`
               and the view in MLflow
    text       formats a value with its unit
    """

    name: str
    label: str
    unit: str
    direction: Direction | None
    about: str
    source: Origin
    of: Callable[[Any], float]
    places: tuple[Display, ...] = ()
    text: Callable[[float], str] = count

    def brief(self, value: float) -> str:
        """The value for a narrow column: as `text`, with large counts as 1.23M."""
        return short(value) if self.text is count else self.text(value)


def _of_metric(metric: Metric) -> Figure:
    """The figure of a metric; displays show that of the study's metric only."""
    name, about = f"{VAL}{metric.name}", f"of {' or '.join(metric.targets)}: {metric.about}"
    places: tuple[Display, ...] = ("top", "report", "view")
    return Figure(
        name,
        name,
        "",
        metric.direction,
        about,
        "training",
        lambda one: one.metrics[metric.name],
        places,
        metric.text,
    )


# fmt: off
_FIGURES = (
    *map(_of_metric, METRICS.values()),
    Figure("val/loss", "val/loss", "", None, "mean loss of the validation examples after the last epoch, unweighted",
           "training", attrgetter("val_loss"), (), "{:.4f}".format),
    Figure("macs", "MACs", "", "minimize", "multiply-accumulates of convolutions, matrix products and attention",
           "cost", attrgetter("macs"), ("top", "report", "card", "finals", "measure", "proxies", "view")),
    Figure("flops", "FLOPs", "", None, "2 * macs; element-wise operations are not added",
           "cost", lambda cost: 2 * cost.macs, ("measure",)),
    Figure("params", "parameters", "", "minimize", "parameters, each counted once",
           "cost", attrgetter("params"), ("top", "report", "card", "measure", "proxies", "view")),
    Figure("elementwise", "element-wise operations", "", "minimize",
           "all arithmetic other than MACs",
           "cost", attrgetter("elementwise"), ("card", "measure")),
    Figure("products", "products", "", "minimize",
           "element-wise products of two activations, a part of the element-wise operations",
           "cost", attrgetter("products"), ("top", "report", "card", "finals", "measure")),
    Figure("activations", "activations", "", "minimize", "elements written by all operations",
           "cost", attrgetter("activations"), ("card", "measure")),
    Figure("bytes_moved", "bytes moved", "bytes", "minimize",
           "bytes read and written if every operation is a separate kernel",
           "cost", attrgetter("bytes_moved"), ("measure",), mebibytes),
    Figure("calls", "calls", "", "minimize", "operations executed, views not counted",
           "cost", attrgetter("calls"), ("measure",)),
    Figure("peak_activation_bytes", "peak activations", "bytes", "minimize",
           "peak memory of activations, an estimate",
           "cost", attrgetter("peak_activation_bytes"), ("measure",), mebibytes),
    Figure("latency_ms", "latency", "ms", "minimize",
           "time of a forward pass, median over samples of at least 10 ms; on one CPU thread, the time of that thread",
           "latency", itemgetter("median_ms"), ("top", "card", "measure", "view"), "{:.3f} ms".format),
    Figure("latency_p90_ms", "latency p90", "ms", None, "90th percentile of these samples",
           "latency", itemgetter("p90_ms"), ("card", "measure"), "{:.3f} ms".format),
    Figure(RATIO, "latency ratio", "", "minimize",
           "latency relative to a fixed reference network, timed alternately; reproducible on a busy machine",
           "latency", itemgetter("ratio"), ("top", "report", "card", "measure"), "{:.3f}".format),
    Figure("latency_ratio_iqr", "IQR of ratio", "", None, "interquartile range of the ratio, relative to its median",
           "latency", itemgetter("ratio_iqr"), ("measure",), "{:.1%}".format),
    Figure("latency_n", "n", "", None, "pairs of samples of the network and the reference",
           "latency", lambda taken: float(taken["n"]), ("measure",)),
    Figure("latency_noisy", "noisy", "", None, "1 if that range is above 5 %, else 0",
           "latency", lambda taken: float(taken["noisy"])),
)
# fmt: on

TABLE = {figure.name: figure for figure in _FIGURES}
"""Every figure by its name, in the order of columns."""


def metric_words(figure: str) -> str:
    """The metric of a figure in words: "val/balanced_accuracy" as "balanced accuracy"."""
    return figure.removeprefix(VAL).replace("_", " ")


def values(source: Origin, record: object) -> dict[str, float]:
    """The figures of one source by name, computed from a record."""
    known = getattr(record, "metrics", {})
    absent = {f"{VAL}{name}" for name in METRICS if name not in known}  # of another target, or of an early training
    chosen = [figure for figure in TABLE.values() if figure.source == source and figure.name not in absent]
    return {figure.name: figure.of(record) for figure in chosen}


def shown_in(place: Display, source: Origin | None = None, *, metric: str = "") -> list[Figure]:
    """The figures of a display, in the order of columns; of one source if that is given.

    Of the metrics it has the one of that name, such as "val/accuracy".
    """
    chosen = [figure for figure in TABLE.values() if place in figure.places and source in (None, figure.source)]
    return [figure for figure in chosen if figure.name == metric or not figure.name.startswith(VAL)]


def objectives() -> dict[str, Direction]:
    """The possible objectives, with their directions."""
    return {figure.name: figure.direction for figure in TABLE.values() if figure.direction is not None}


def constraints() -> list[Figure]:
    """The possible constraints: figures known before the training, of which smaller values are better."""
    return [figure for figure in TABLE.values() if figure.direction == "minimize" and figure.source != "training"]
