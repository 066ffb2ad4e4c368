"""The figures of a network, in one table, from which objectives, constraints, columns, cards and options derive.

To add a figure, add an entry to `TABLE`. Every evaluation then computes it and logs it to MLflow, a study may optimise
or constrain it, `study.trials` has it as a column, and it is shown in the places that the entry names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any, Literal

Direction = Literal["maximize", "minimize"]
Source = Literal["cost", "latency", "training"]
Place = Literal["top", "report", "card", "finals", "measure", "proxies", "view"]

ACCURACY, RATIO = "val/accuracy", "latency_ratio"


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
    label      heads its column
    unit       of the value; "" for a number of things or a ratio
    direction  of the better values; None where it cannot be an objective
    about      what it is, in one line
    source     "cost", "latency" or "training"
    of         computes it: of a `Cost` or the ledger's `Costs`, of the figures of a latency (a mapping such as
               `{"median_ms": 0.2}`), or of a training and each of its epochs (`val_accuracy`, `val_loss`, `seconds`)
    places     where it is shown: `top`, the report, the model card, the finals, `hadnas measure`, `hadnas proxies` and
               the view in MLflow
    text       writes a value for people, with its unit
    """

    name: str
    label: str
    unit: str
    direction: Direction | None
    about: str
    source: Source
    of: Callable[[Any], float]
    places: tuple[Place, ...] = ()
    text: Callable[[float], str] = count

    def brief(self, value: float) -> str:
        """The value for a narrow column: `text`, but large counts as 1.23M."""
        return short(value) if self.text is count else self.text(value)


# fmt: off
_FIGURES = (
    Figure(ACCURACY, ACCURACY, "", "maximize",
           "share of validation images classified correctly after the last epoch; the test split stays closed",
           "training", attrgetter("val_accuracy"), ("top", "report", "view"), "{:.4f}".format),
    Figure("val/loss", "val/loss", "", None, "mean cross-entropy of the validation images after the last epoch",
           "training", attrgetter("val_loss"), (), "{:.4f}".format),
    Figure("macs", "MACs", "", "minimize", "multiply-accumulates of convolutions, matrix products and attention",
           "cost", attrgetter("macs"), ("top", "report", "card", "finals", "measure", "proxies", "view")),
    Figure("flops", "FLOPs", "", None, "2 * macs",
           "cost", lambda cost: 2 * cost.macs, ("measure",)),
    Figure("params", "parameters", "", "minimize", "parameters, each counted once",
           "cost", attrgetter("params"), ("top", "report", "card", "measure", "proxies", "view")),
    Figure("elementwise", "element-wise operations", "", "minimize",
           "all arithmetic that is no MAC, however it is spelled",
           "cost", attrgetter("elementwise"), ("card", "measure")),
    Figure("products", "products", "", "minimize",
           "element-wise products of two activations, a part of the element-wise operations",
           "cost", attrgetter("products"), ("top", "report", "card", "finals", "measure")),
    Figure("activations", "activations", "", "minimize", "elements written by all operations",
           "cost", attrgetter("activations"), ("card", "measure")),
    Figure("bytes_moved", "bytes moved", "bytes", "minimize",
           "bytes read and written if every operation is a kernel of its own",
           "cost", attrgetter("bytes_moved"), ("measure",), mebibytes),
    Figure("calls", "calls", "", "minimize", "operations executed, views not counted",
           "cost", attrgetter("calls"), ("measure",)),
    Figure("peak_activation_bytes", "peak activations", "bytes", "minimize",
           "the most memory that activations take at one moment, an estimate",
           "cost", attrgetter("peak_activation_bytes"), ("measure",), mebibytes),
    Figure("latency_ms", "latency", "ms", "minimize",
           "time of a forward pass, median over samples of at least 10 ms; on one CPU thread, the time of that thread",
           "latency", itemgetter("median_ms"), ("top", "card", "measure", "view"), "{:.3f} ms".format),
    Figure("latency_p90_ms", "latency p90", "ms", None, "90th percentile of these samples",
           "latency", itemgetter("p90_ms"), ("card", "measure"), "{:.3f} ms".format),
    Figure(RATIO, "latency ratio", "", "minimize",
           "latency over that of a fixed reference network, timed in turn: it repeats on a busy machine",
           "latency", itemgetter("ratio"), ("top", "report", "card", "measure"), "{:.3f}".format),
    Figure("latency_ratio_iqr", "IQR of ratio", "", None, "interquartile range of the ratio over its median",
           "latency", itemgetter("ratio_iqr"), ("measure",), "{:.1%}".format),
    Figure("latency_n", "n", "", None, "pairs of samples of the network and the reference",
           "latency", lambda taken: float(taken["n"]), ("measure",)),
    Figure("latency_noisy", "noisy", "", None, "1 where that range stayed above 5 %, else 0",
           "latency", lambda taken: float(taken["noisy"])),
)
# fmt: on

TABLE = {figure.name: figure for figure in _FIGURES}
"""Every figure by its name, in the order of columns."""


def values(source: Source, record: object) -> dict[str, float]:
    """The figures of one source by name, computed from a record."""
    return {figure.name: figure.of(record) for figure in TABLE.values() if figure.source == source}


def shown_in(place: Place, source: Source | None = None) -> list[Figure]:
    """The figures that are shown in a place, of one source if that is given."""
    return [figure for figure in TABLE.values() if place in figure.places and source in (None, figure.source)]


def objectives() -> dict[str, Direction]:
    """The names that may be objectives, with their directions."""
    return {figure.name: figure.direction for figure in TABLE.values() if figure.direction is not None}


def constraints() -> list[Figure]:
    """The figures that may be constraints: known before the training, and better the smaller."""
    return [figure for figure in TABLE.values() if figure.direction == "minimize" and figure.source != "training"]
