"""What the trials of a search count, and the first reason to stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hadnas.measure.figures import TABLE
from hadnas.samplers.problem import Problem
from hadnas.samplers.volume import FIRST, volume
from hadnas.store.study import Study
from hadnas.store.trials import FIGURES, FINGERPRINT, PHASES, ended, rung_of

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


def tally(trials: list[FrozenTrial], metric: str) -> Tally:
    """Count the finished ones of the trials of all workers, the best by the figure `metric`.

    Failed ones (interrupted, taken up again) are none.
    """
    known: set[str | None] = set()
    trained: set[str | None] = set()
    met: set[str | None] = set()
    assignments: set[tuple[tuple[str, Any], ...]] = set()
    refused = refusals = barren = 0
    best: float | None = None
    longest: float | None = None
    better = max if TABLE[metric].direction == "maximize" else min
    for trial in trials:
        if not trial.state.is_finished() or trial.state == TrialState.FAIL:
            continue
        if phases := trial.user_attrs.get(PHASES):
            longest = max(longest or 0.0, sum(phases.values()) - phases.get("sample", 0.0))
        assignment = tuple(sorted(trial.params.items()))
        fingerprint = trial.user_attrs.get(FINGERPRINT)  # None where a rule refused the draw
        if fingerprint is not None and fingerprint not in met:
            barren = 0
        elif fingerprint is not None or assignment in assignments:
            barren += 1
        met.add(fingerprint)
        assignments.add(assignment)
        if trial.state == TrialState.PRUNED and rung_of(trial) is None:
            refused, refusals = refused + 1, refusals + 1
            continue
        if fingerprint not in known:  # one that was refused may have been met before, and tried again
            known.add(fingerprint)
            refusals = 0
        if trial.state == TrialState.COMPLETE and fingerprint not in trained:
            trained.add(fingerprint)
            value = trial.user_attrs[FIGURES][metric]
            best = value if best is None else better(best, value)
    return Tally(len(known), len(known - trained), refused, refusals, barren, len(assignments), best, longest)


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
