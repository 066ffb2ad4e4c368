"""What the trials of a search count, and the first reason to stop."""

from collections import ChainMap
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hadnas.measure.figures import TABLE
from hadnas.samplers.problem import Problem
from hadnas.samplers.volume import FIRST, volume
from hadnas.store.study import Study
from hadnas.store.trials import FIGURES, FINGERPRINT, PHASES, draw_of, ended, rung_of, settled

REPEATS = 50
"""Draws in a row without a new architecture after which a study ends."""

REFUSALS = 200
"""Refused draws since the last trained architecture after which a study ends."""

FAILURES = 20
"""Candidates that failed in a process, after which it ends a study in which no architecture was ever trained."""

RISE = 0.001
"""Share by which the hypervolume rises at least where a search does not stand still."""


@dataclass(frozen=True)
class Tally:
    """Counts of a study's trials.

    done         distinct architectures that were trained, reused or stopped at a rung; the budget counts these
    stopped      those of them that were stopped and not trained to the end since
    refused      draws that were refused; `refusals` are those since the last that was not
    barren       repeats since the last architecture not met before; a new assignment without one is no repeat
    assignments  distinct assignments of the space that were drawn
    best         the best metric
    longest      seconds of the longest evaluation, sampling not counted
    """

    done: int
    stopped: int
    refused: int
    refusals: int
    barren: int
    assignments: int
    best: float | None
    longest: float | None

    def end(self, study: Study, size: int) -> str:
        """Why the study ends here, in words; empty where it goes on. `size` is that of its space, in assignments."""
        if self.done >= study.trials:
            return f"the budget of {study.trials} architectures is met"
        if self.barren >= REPEATS:
            met = f"{self.assignments} of {size} assignments were met"
            return f"{REPEATS} draws in a row brought no new architecture; {met}"
        if self.refusals >= REFUSALS:
            return f"the last {REFUSALS} draws were all refused; `hadnas top` says why"
        if self.assignments >= size:
            return f"all {self.assignments} assignments of the space were met"
        return ""


class RunningTally:
    """The tally of a study that grows: a trial is counted once, when it and all before it have ended.

    Those after the first trial that has not ended are counted anew each time, as their order decides.

    metric: the figure of the best
    now: the counts at the last `update`
    """

    def __init__(self, metric: str) -> None:
        self._counted = _Counted(metric)
        self._number = 0  # of the trials counted for good
        self._draws: set[int] = set()
        self._later: set[int] = set()
        self.now = self._counted.tally

    def update(self, trials: Sequence[FrozenTrial]) -> Tally:
        """Count `trials`, those of all workers in order without failed ones; none may be missing that was there."""
        until = settled(trials, self._number)
        for trial in trials[self._number : until]:
            self._counted.add(trial)
            self._draws.add(draw_of(trial))
        self._number = until
        later, self._later = self._counted.child(), set()
        for trial in trials[until:]:
            if trial.state.is_finished():
                later.add(trial)
                self._later.add(draw_of(trial))
        self.now = later.tally
        return self.now

    def has_ended(self, draw: int) -> bool:
        """Whether the trial of a draw had ended at the last `update`."""
        return draw in self._draws or draw in self._later


def tally(trials: Sequence[FrozenTrial], metric: str) -> Tally:
    """Count the finished ones of the trials of all workers, the best by the figure `metric`.

    Failed ones (interrupted, taken up again) are none.
    """
    return RunningTally(metric).update([trial for trial in trials if trial.state != TrialState.FAIL])


class _Counted:
    """Counts of ended trials, added in order; `child` goes on from them without changing them."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.tally = Tally(0, 0, 0, 0, 0, 0, None, None)
        self._trained: ChainMap[str | None, bool] = ChainMap()  # architecture -> whether trained, or only stopped
        self._met: ChainMap[str, bool] = ChainMap()  # those that were refused, too
        self._assignments: ChainMap[tuple[tuple[str, Any], ...], bool] = ChainMap()

    def child(self) -> "_Counted":
        made = copy(self)
        made._trained, made._met = self._trained.new_child(), self._met.new_child()
        made._assignments = self._assignments.new_child()
        return made

    def add(self, trial: FrozenTrial) -> None:
        """Count a trial that ended, complete or pruned."""
        now = asdict(self.tally)
        if phases := trial.user_attrs.get(PHASES):
            now["longest"] = max(now["longest"] or 0.0, sum(phases.values()) - phases.get("sample", 0.0))
        assignment = tuple(sorted(trial.params.items()))
        fingerprint = trial.user_attrs.get(FINGERPRINT)  # None where a rule refused the draw
        if fingerprint is not None and fingerprint not in self._met:
            self._met[fingerprint] = True
            now["barren"] = 0
        elif fingerprint is not None or assignment in self._assignments:
            now["barren"] += 1
        if assignment not in self._assignments:
            self._assignments[assignment] = True
            now["assignments"] += 1
        if trial.state == TrialState.PRUNED and rung_of(trial) is None:
            now["refused"], now["refusals"] = now["refused"] + 1, now["refusals"] + 1
            self.tally = Tally(**now)
            return
        if fingerprint not in self._trained:  # one that was refused may have been met before, and tried again
            self._trained[fingerprint] = False
            now["done"], now["stopped"], now["refusals"] = now["done"] + 1, now["stopped"] + 1, 0
        if trial.state == TrialState.COMPLETE and not self._trained[fingerprint]:
            self._trained[fingerprint] = True
            now["stopped"] -= 1
            value, best = trial.user_attrs[FIGURES][self.metric], now["best"]
            better = max if TABLE[self.metric].direction == "maximize" else min
            now["best"] = value if best is None else better(best, value)
        self.tally = Tally(**now)


def all_failed(done: int, failed: Sequence[str]) -> str:
    """Why a search ends in which every candidate fails, in words; empty otherwise.

    done: architectures of the study that were trained, reused or stopped
    failed: the reasons of the candidates that failed in this process, without those that a rule or limit refused
    """
    if done or len(failed) < FAILURES:
        return ""
    reason = failed[-1].partition("\n")[0]
    return (
        f"{len(failed)} candidates failed and none was trained, the last one by {reason}; the same command tries "
        "others, a changed function or recipe needs another --name"
    )


def standstill(problem: Problem, trials: Sequence[FrozenTrial], patience: int) -> str:
    """Why a search ends whose last `patience` architectures hardly raised the hypervolume, in words; empty otherwise.

    Architectures count in the order in which they finished, from the volume's first on; stopped ones raise nothing.
    """
    figures: dict[str, Sequence[float]] = {}
    for trial in ended(trials):
        name = trial.user_attrs[FINGERPRINT]
        figures[name] = figures.get(name) or (trial.values if trial.state == TrialState.COMPLETE else ())
    if len(figures) < FIRST + patience:
        return ""
    complete = [row for row in figures.values() if row]
    before = [row for row in [*figures.values()][:-patience] if row]
    if not before:
        return ""
    scale = volume(problem, complete)
    if scale.of(complete) >= (1 + RISE) * scale.of(before):
        return ""
    return f"the last {patience} architectures raised the hypervolume by less than {RISE:.1%}"
