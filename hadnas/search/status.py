"""Who works at a study, at what, since when, and about how long it will take."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from optuna.trial import FrozenTrial

from hadnas.results.table import StudyResults
from hadnas.search.tally import tally
from hadnas.store.home import Home
from hadnas.store.trials import NOTES, PHASES, draw_of, ended
from hadnas.store.worker import Activity

RECENT = 20
"""The architectures whose time is the basis of the time left."""


@dataclass(frozen=True)
class StudyStatus:
    """A study as it is now.

    done     architectures of its budget of `trials`; `refused` are draws
    epochs   of a training
    at_work  name of a candidate -> who works at it; a candidate that a worker left is among them
    each     median seconds of the last architectures, `basis` their number; None before the first
    """

    done: int
    trials: int
    refused: int
    epochs: int
    at_work: dict[str, Activity]
    each: float | None
    basis: int

    @property
    def workers(self) -> int:
        """Living workers that are at a candidate."""
        return sum(activity.pid is not None for activity in self.at_work.values())

    @property
    def left(self) -> float | None:
        """Seconds left with as many workers, by the median; None if there is no worker or no finished architecture."""
        if self.each is None or not self.workers:
            return None
        return self.each * (self.trials - self.done) / self.workers


def status(name: str, home: Home) -> StudyStatus:
    """The status of a stored study. Raises as `open_study`."""
    results = StudyResults(name, home)
    trials = results.book.get_trials(deepcopy=False)
    with closing(results.ledger) as ledger:
        found = {_label(activity, trials): activity for activity in ledger.claims.activities(name)}
    counts = tally(trials, results.study.metric_figure)
    known = [trial.user_attrs for trial in ended(trials)]
    times = [sum(kept[PHASES].values()) for kept in known if PHASES in kept and not kept[NOTES].get("reused")][-RECENT:]
    each = median(times) if times else None
    return StudyStatus(
        counts.done, results.study.trials, counts.refused, results.study.recipe.epochs, found, each, len(times)
    )


def _label(activity: Activity, trials: Sequence[FrozenTrial]) -> str:
    """`trial 3` for a draw that has a trial, the name of a baseline."""
    kind, _, name = activity.item.partition(" ")
    if kind != "draw":
        return name
    return next((f"trial {trial.number}" for trial in trials if draw_of(trial) == int(name)), activity.item)
