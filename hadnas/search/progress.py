"""Where a search stands, as the search says it to whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Progress:
    """`done` of `budget` architectures, the candidate at work and its epochs done, the best validation accuracy so far.

    notes: sentences on the images, for people
    """

    study: str
    budget: int
    done: int = 0
    label: str = ""
    phase: str = ""
    epoch: int = 0
    epochs: int = 0
    best: float | None = None
    refused: int = 0
    ended: str = ""
    notes: tuple[str, ...] = ()


Watch = Callable[[Progress], None]
