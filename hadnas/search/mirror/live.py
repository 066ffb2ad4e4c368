"""A candidate while it is evaluated: in its run in MLflow, and in the progress of the search."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from hadnas.hosts.host import Plan
from hadnas.search.job import Outcome
from hadnas.search.mirror.candidates import Mirror
from hadnas.search.mirror.restore import OpenMirror
from hadnas.search.mirror.writer import Writer
from hadnas.space import Params
from hadnas.track.runs import End
from hadnas.train.trainer import Epoch


class Live:
    """Shows one candidate; all writes to MLflow are queued.

    note: stores the id of its run, once it is known
    say: reports the progress, as (phase, epoch)
    """

    def __init__(
        self, writer: Writer, name: str, plan: Plan, note: Callable[[str], None], say: Callable[[str, int], None]
    ) -> None:
        self.writer, self.name, self.plan, self.note, self.say = writer, name, plan, note, say
        self._begun = False
        self._run: tuple[OpenMirror, str] | None = None  # of the writer's thread: where the run is open, and its id

    def start(self, number: int | None, kind: str, params: Params, left: str | None = None) -> None:
        """Open the run; `left` is that of a worker that died at the candidate."""

        def opened(mirror: OpenMirror) -> None:
            if self.name in mirror.written:  # it ended before MLflow answered again
                return
            if left is not None:
                mirror.tracker.interrupt(left)
            run_id = mirror.candidates.start(number, kind, self.name, self.plan.arch, params)
            self._run = mirror, run_id
            self.note(run_id)

        self._begun = self.writer.begin(opened)

    def measured(self, outcome: Outcome) -> None:
        """Log the figures and the files."""
        known = replace(outcome, figures={**outcome.figures})  # its training adds others
        self._add(lambda mirror, run_id: mirror.measured(run_id, self.name, self.plan, known))
        if not outcome.reason:
            self.say("train", 0)

    def epoch(self, epoch: Epoch) -> None:
        """Add a point to the curves."""
        self._add(lambda mirror, run_id: mirror.epoch(run_id, epoch))
        self.say("train", epoch.epoch)

    def quiet(self) -> AbstractContextManager[None]:
        """Nothing is written."""
        return self.writer.paused()

    def trained(self, outcome: Outcome) -> None:
        """Log the curve as a table, and the predictions."""
        self._add(lambda mirror, run_id: mirror.trained(run_id, outcome))

    def end(self, state: End, reason: str | None = None) -> None:
        """Close the run."""
        self._add(lambda mirror, run_id: mirror.end(run_id, state, reason))
        if self._begun:
            self.writer.ended()

    def _add(self, write: Callable[[Mirror, str], None]) -> None:
        def written(mirror: OpenMirror) -> None:
            if self._run is not None and self._run[0] is mirror:  # not if MLflow was lost meanwhile
                write(mirror.candidates, self._run[1])

        if self._begun:
            self.writer.add(written)
