"""Where a search stands, as the search says it to whoever shows it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Progress:
    """`done` of `budget` architectures, the candidate at work and its epoch, the best validation accuracy so far."""

    study: str
    budget: int
    done: int = 0
    label: str = ""
    phase: str = ""
    epoch: int = 0
    epochs: int = 0
    best: float | None = None
    refused: int = 0
    started: float = field(default_factory=time.monotonic)
    ended: str = ""


Watch = Callable[[Progress], None]
