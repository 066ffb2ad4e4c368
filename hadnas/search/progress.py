"""How far a search has come: a plain value, so that whoever watches it needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hadnas.train.summary import DataSummary


@dataclass
class Progress:
    """`done` of `budget` architectures, the candidate at work and its epochs done, the best so far by the metric.

    label: the candidate; empty before the first, while the search is set up in the `phase`
    stopped: those of `done` that were stopped at a rung
    data: the images, once they are read
    item: the draw or baseline at work, as the database names it, and `worker` the id of the worker that has it
    longest: the seconds of the study's longest evaluation, None before the first
    notes: sentences on what was decided before the search began
    """

    study: str
    budget: int
    done: int = 0
    label: str = ""
    phase: str = ""
    epoch: int = 0
    epochs: int = 0
    best: float | None = None
    metric: str = "accuracy"
    stopped: int = 0
    refused: int = 0
    ended: str = ""
    data: "DataSummary | None" = None
    notes: tuple[str, ...] = ()
    item: str = ""
    worker: str = ""
    longest: float | None = None


Watch = Callable[[Progress], None]
