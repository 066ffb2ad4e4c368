"""One network of a study, as it was found."""

from dataclasses import dataclass
from typing import Any

from hadnas.arch.families import family_counts, main_family
from hadnas.arch.node import Arch
from hadnas.errors import StudyError


@dataclass(frozen=True)
class Found:
    """One trial or baseline: its number (None for a baseline), name, state, architecture and figures."""

    number: int | None
    name: str
    state: str
    arch: Arch | None
    figures: dict[str, float]
    notes: dict[str, Any]
    reason: str | None
    params: dict[str, Any]
    phases: dict[str, float]
    run_id: str | None
    feasible: bool

    @property
    def family(self) -> str | None:
        """The family of most blocks, `mixed` where another has as many; None where no block is counted."""
        return main_family(family_counts(self.arch)) if self.arch is not None else None

    @property
    def trained(self) -> Arch:
        """The architecture. Raises StudyError where it was not trained to its end."""
        if self.state != "complete" or self.arch is None:
            raise StudyError(f"{self.name} is {self.state}" + (f" ({self.reason})" if self.reason else ""))
        return self.arch

    def rank(self) -> tuple[float, float]:
        """For sorting: the most accurate first, ties by fewest MACs."""
        return -self.figures["val/accuracy"], self.figures["macs"]
