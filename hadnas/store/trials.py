"""The trials and attributes of a study in Optuna's storage; every attribute's name is defined here.

A trial is written in one step, running, with its parameters; it ends once, complete or pruned. A pruned one was
refused, or has a RUNG. Failed trials are from earlier versions of hadnas, which drew them again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from pydantic import Field

from hadnas.store.records import TrainingKey

DRAW, WORKER = "draw", "worker"  # of a trial: the number of its draw, and the id of the worker at it
FINGERPRINT, RUN_ID, REASON = "fingerprint", "run_id", "reason"  # of its candidate; REASON where it was refused
RUNG = "rung"  # the epoch after which its training was stopped, with a REASON
FIGURES, NOTES, PHASES = "figures", "notes", "phases"  # the results, and the seconds of each phase
_EARLIER_DRAW = "hadnas:draw"  # a system attribute, of trials of earlier versions

STUDY = "study"  # of a study: the study as data, with the facts of its images
FINALS, FINALS_RUNS, OPENINGS = "finals", "finals_runs", "test_opened_for"
BEHIND = "mlflow_behind"  # whether MLflow lacks something that could not be written
# `baseline:<name>`, `run:<trial>`, `run:baseline:<name>`, `latency:<fingerprint>:<on>`
BASELINE, RUN, LATENCY = "baseline", "run", "latency"


def draw_of(trial: FrozenTrial) -> int:
    """The number of a trial's draw."""
    return int(trial.user_attrs.get(DRAW, trial.system_attrs.get(_EARLIER_DRAW, trial.number)))


def rung_of(trial: FrozenTrial) -> int | None:
    """The epoch after which a trial's training was stopped; None for one that was trained, refused or is at work."""
    rung: int | None = trial.user_attrs.get(RUNG)
    return rung if trial.state == TrialState.PRUNED else None


def ended(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that were trained, reused or stopped at a rung, in the order in which they finished."""
    found = [trial for trial in trials if trial.state == TrialState.COMPLETE or rung_of(trial) is not None]
    return sorted(found, key=when)


def when(trial: FrozenTrial) -> float:
    """The end of a finished trial, in seconds since 1970."""
    assert trial.datetime_complete is not None
    return trial.datetime_complete.timestamp()


def settled(trials: Sequence[FrozenTrial], start: int) -> int:
    """The place of the first trial from `start` on that has not ended: those before it never change."""
    return next((place for place in range(start, len(trials)) if not trials[place].state.is_finished()), len(trials))


class Trials:
    """The trials of a study, read and written; `book` is the Optuna study."""

    def __init__(self, book: optuna.Study, storage: BaseStorage) -> None:
        self.book, self.storage = book, storage
        self._study = storage.get_study_id_from_name(book.study_name)
        self._failures: dict[str, str] = {}  # of the first trials, so many have been examined
        self._examined = 0

    def all(self) -> list[FrozenTrial]:
        """Every trial in order, except failed ones."""
        return [trial for trial in self.book.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]

    def running(self, draw: int) -> FrozenTrial | None:
        """The running trial of a draw, or None."""
        running = self.book.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return next((trial for trial in running if draw_of(trial) == draw), None)

    def failure(self, fingerprint: str) -> str:
        """Why an architecture failed in this study, which does not try it again; empty if it did not."""
        trials = self.all()
        until = settled(trials, self._examined)
        self._failures = {**_failures(trials[self._examined : until]), **self._failures}
        self._examined = until
        return self._failures.get(fingerprint) or _failures(trials[until:]).get(fingerprint, "")

    def add(
        self,
        draw: int,
        answers: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        kept: dict[str, Any],
        worker: str | None = None,
    ) -> FrozenTrial:
        """Add a running trial in one step; `kept` are the system attributes that its sampler stores."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params=answers,
            distributions=distributions,
            user_attrs={DRAW: draw, WORKER: worker},
            system_attrs=kept,
        )
        self.book.add_trial(trial)
        added = self.running(draw)
        assert added is not None
        return added

    def note(self, number: int, **attributes: Any) -> None:
        """Set attributes of a running trial."""
        trial = self._trial(number)
        for name, value in attributes.items():
            trial.set_user_attr(name, value)

    def note_run(self, number: int, run_id: str) -> None:
        """Store the run of a trial, which may have ended meanwhile: runs are opened by another thread."""
        try:
            self._trial(number).set_user_attr(RUN_ID, run_id)
        except UpdateFinishedTrialError:
            note_run(self.book, number, run_id)

    def tell(self, number: int, constraints: Mapping[str, float], values: Sequence[float] | None) -> None:
        """End a trial: complete with its values, or pruned without, so that the sampler learns from its constraints.

        A trial that another worker has ended stays as it is.
        """
        trial = self._trial(number)
        known = self.book.get_trials(deepcopy=False)[number].constraints  # of a worker that died in this function
        for name, value in constraints.items():
            if name not in known:
                trial.set_constraint(name, value)
        state = TrialState.PRUNED if values is None else TrialState.COMPLETE
        self.book.tell(number, values, state=state, skip_if_finished=True)

    def drop(self, number: int) -> None:
        """End a running trial that the study no longer needs; it counts as none."""
        self.book.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def mend(self) -> None:
        """Fail the running trials of earlier versions, which would never end; they are drawn again."""
        for trial in self.book.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if DRAW not in trial.user_attrs:
                self.book.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _trial(self, number: int) -> Trial:
        return Trial(self.book, self.storage.get_trial_id_from_study_id_trial_number(self._study, number))


def _failures(trials: Iterable[FrozenTrial]) -> dict[str, str]:
    """Why architectures failed, by fingerprint: the reason of the first trial of each."""
    found: dict[str, str] = {}
    for trial in trials:
        kept = trial.user_attrs
        if FINGERPRINT in kept and REASON in kept and trial.constraints.get("trains", 0.0) > 0:
            found.setdefault(kept[FINGERPRINT], str(kept[REASON]))
    return found


def baseline_entries(book: optuna.Study) -> dict[str, dict[str, Any]]:
    """The baselines of a study by name: fingerprint, run, and in the end figures, or a reason.

    Each is an attribute of its own, as several workers write them.
    """
    start = f"{BASELINE}:"
    return {key.removeprefix(start): entry for key, entry in book.user_attrs.items() if key.startswith(start)}


def note_baseline(book: optuna.Study, name: str, entry: Mapping[str, Any]) -> None:
    """Store the entry of a baseline."""
    book.set_user_attr(f"{BASELINE}:{name}", dict(entry))


Kind = Literal["finalist", "additive twin", "one branch", "baseline", "random"]


@dataclass(frozen=True)
class FinalEntry:
    """A network of the finals: its trainings, one key per seed, or the reason why one failed.

    `stressed` has each stress under which it was scored, as text, with the `params` and `macs` that remained.
    """

    name: str
    kind: Kind
    fingerprint: str
    against: str | None
    keys: Annotated[list[TrainingKey], Field(min_length=1)]
    reason: str | None
    stressed: dict[str, dict[str, int]] = field(default_factory=dict)


def trial_name(number: int) -> str:
    """The name of a trial, as of its run."""
    return f"trial-{number:04d}"


def workers_at(book: optuna.Study) -> dict[str, str]:
    """The id of the last worker at each trial and baseline, by name; earlier versions stored none."""
    trials = {trial_name(trial.number): trial.user_attrs for trial in book.get_trials(deepcopy=False)}
    return {name: kept[WORKER] for name, kept in {**trials, **baseline_entries(book)}.items() if kept.get(WORKER)}


def is_behind(book: optuna.Study) -> bool:
    """Whether MLflow lacks something of a study that could not be written."""
    return bool(book.user_attrs.get(BEHIND))


def mark_behind(book: optuna.Study, behind: bool) -> None:
    """Store whether MLflow lacks something of a study."""
    if is_behind(book) != behind:
        book.set_user_attr(BEHIND, behind)


def note_finals(book: optuna.Study, entries: Sequence[FinalEntry]) -> None:
    """Store the networks of the finals; those of earlier finals are replaced."""
    book.set_user_attr(FINALS, [asdict(entry) for entry in entries])


def final_entries(book: optuna.Study) -> list[FinalEntry]:
    """What `note_finals` stored; empty without finals."""
    kept = book.user_attrs.get(FINALS, [])
    return [FinalEntry(**{**entry, "keys": [TrainingKey(**key) for key in entry["keys"]]}) for entry in kept]


def note_run(book: optuna.Study, candidate: int | str, run_id: str | None) -> None:
    """Store the run of a finished trial or of a baseline with the study: Optuna does not change a finished trial."""
    book.set_user_attr(_run_key(candidate), run_id)


def noted_run(book_attributes: Mapping[str, Any], candidate: int | str) -> str | None:
    """What `note_run` stored, from the attributes of the study; None if nothing."""
    found: str | None = book_attributes.get(_run_key(candidate))
    return found


def _run_key(candidate: int | str) -> str:
    return f"{RUN}:{candidate}" if isinstance(candidate, int) else f"{RUN}:{BASELINE}:{candidate}"


def note_latency(book: optuna.Study, fingerprint: str, backend: str, entry: Mapping[str, Any]) -> None:
    """Store the protocol under which an architecture was timed on a backend, or the reason of a failure.

    Each is an attribute of its own, so that two workers do not overwrite each other's.
    """
    book.set_user_attr(f"{LATENCY}:{fingerprint}:{backend}", dict(entry))


def latency_of(book_attributes: Mapping[str, Any], fingerprint: str, backend: str) -> Mapping[str, Any] | None:
    """What `note_latency` stored, from the attributes of the study; None if nothing."""
    entry: Mapping[str, Any] | None = book_attributes.get(f"{LATENCY}:{fingerprint}:{backend}")
    return entry
