"""One network of a study, a trial or a baseline, as a value."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hadnas.arch.families import families_texts, family_counts, main_family
from hadnas.arch.node import Arch, stored_arch
from hadnas.errors import HadnasError, StudyError
from hadnas.measure.figures import TABLE, shown_in
from hadnas.measure.metrics.error import standard_error
from hadnas.space import meanings
from hadnas.store.measured import Measured
from hadnas.store.stored import check_entry
from hadnas.store.study import Study
from hadnas.store.trials import FIGURES, FINGERPRINT, NOTES, PHASES, REASON, RUN_ID, noted_run, rung_of, trial_name

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True, repr=False)
class Found:
    """One trial or baseline: its number (None for a baseline), name, state, architecture and figures.

    state: complete, pruned, stopped or running; damaged, with the `reason`, if its stored data cannot be read
    rung: the epoch after which a stopped training was stopped
    metric: the figure by which the study judges networks, such as "val/accuracy"
    """

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
    metric: str
    rung: int | None = None

    def __repr__(self) -> str:
        columns = shown_in("top", metric=self.metric)
        known = [f"{f.label} {f.brief(self.figures[f.name])}" for f in columns if f.name in self.figures]
        blocks, merges = families_texts(self.arch)
        kinds = [f"blocks {blocks}, merges {merges}"] if self.arch is not None else []
        reason = [self.reason] if self.reason else []
        return f"{self.name} ({self.state}): {', '.join([*reason, *known, *kinds])}"

    @property
    def family(self) -> str | None:
        """The family of most blocks, `mixed` if two tie; None if no block is counted."""
        return main_family(family_counts(self.arch)) if self.arch is not None else None

    @property
    def trained(self) -> Arch:
        """The architecture. Raises StudyError if its training is not finished."""
        if self.state != "complete" or self.arch is None:
            raise StudyError(f"{self.name} is {self.state}" + (f" ({self.reason})" if self.reason else ""))
        return self.arch

    @property
    def value(self) -> float:
        """The study's metric on the validation images, after the last epoch."""
        return self.figures[self.metric]

    @property
    def standard_error(self) -> float:
        """Of the metric, over the validation images."""
        known: float | None = self.notes.get("standard_error")  # an accuracy has none: it has a formula
        return standard_error(self.value, self.notes["val_n"]) if known is None else known

    @property
    def goodness(self) -> float:
        """The metric, negated if lower ones are better."""
        return self.value if TABLE[self.metric].direction == "maximize" else -self.value

    def rank(self) -> tuple[float, float]:
        """For sorting: the best by the metric first, ties by fewest MACs."""
        return -self.goodness, self.figures["macs"]


class Candidates:
    """The trials of a study as values. What has ended is read once: Optuna gives it as the same object again."""

    def __init__(self, study: Study, measured: Measured) -> None:
        self._study, self._measured = study, measured
        self._archs: dict[str, Arch] = {}
        self._texts: dict[str, str] = {}  # of architectures that were read together
        self._seen: dict[int, tuple[FrozenTrial | StudyError, str | None, Found]] = {}

    def of_trials(
        self, trials: "Sequence[tuple[int, FrozenTrial | StudyError]]", attributes: Mapping[str, Any]
    ) -> list[Found]:
        """Trials by number as values; `attributes` are those of the study."""
        kept = (trial.user_attrs.get(FINGERPRINT) for _, trial in trials if not isinstance(trial, StudyError))
        named = {fingerprint for fingerprint in kept if fingerprint and fingerprint not in self._archs}
        with suppress(StudyError):  # a row is damaged: `architecture` reads them one by one
            self._texts = self._measured.architectures(named)
        return [self._of_trial(number, trial, noted_run(attributes, number)) for number, trial in trials]

    def _of_trial(self, number: int, trial: "FrozenTrial | StudyError", run_id: str | None) -> Found:
        seen, seen_run, found = self._seen.get(number, (None, None, None))
        if found is None or seen is not trial or seen_run != run_id:
            found = of_trial(number, trial, run_id, self._study, self.known)
            if found.state != "damaged":  # the database may have been out of reach, or be repaired
                self._seen[number] = trial, run_id, found
        return found

    def architecture(self, fingerprint: str) -> Arch | None:
        """An architecture of the ledger by its fingerprint, or None. Raises SpecError for one of a later format."""
        if fingerprint not in self._archs:
            text = self._texts.pop(fingerprint, None) or self._measured.architecture(fingerprint)
            if text is None:
                return None
            self._archs[fingerprint] = stored_arch(text, fingerprint)
        return self._archs[fingerprint]

    def known(self, fingerprint: str) -> Arch:
        """An architecture of a trial or baseline. Raises StudyError if the ledger does not have it."""
        if (found := self.architecture(fingerprint)) is None:
            raise StudyError(f"its architecture {fingerprint} is not in the ledger")
        return found


def of_trial(
    number: int,
    trial: "FrozenTrial | StudyError",
    run_id: str | None,
    study: Study,
    known: Callable[[str], Arch],
) -> Found:
    """A trial as a value; one that cannot be read has the state damaged, with the reason.

    run_id: of its MLflow run, unless it was noted with the trial
    known: returns an architecture by its fingerprint
    """
    name = trial_name(number)
    try:
        if isinstance(trial, StudyError):
            raise trial
        stored, rung = trial.user_attrs, rung_of(trial)
        state = trial.state.name.lower() if rung is None else "stopped"
        arch = known(stored[FINGERPRINT]) if FINGERPRINT in stored else None
        params = meanings(study.space, trial.params)
    except HadnasError as error:
        return _damaged(number, name, study, error)
    feasible = state == "complete" and all(value <= 0 for value in trial.constraints.values())
    run_id = run_id or stored.get(RUN_ID)
    return _found(number, name, state, arch, stored, params, run_id, feasible, study.metric_figure, rung)


def of_baseline(
    name: str, entry: dict[str, Any], run_id: str | None, study: Study, known: Callable[[str], Arch]
) -> Found:
    """A finished or failed baseline as a value; one that cannot be read has the state damaged, with the reason.

    run_id: of its MLflow run, unless it is in the entry, as in earlier versions
    """
    trained = REASON not in entry
    try:
        check_entry(entry, f"baseline {name!r}", needed=[study.metric_figure] if trained else ())
        arch = known(entry[FINGERPRINT])
    except HadnasError as error:
        return _damaged(None, name, study, error)
    state, run_id = "complete" if trained else "pruned", run_id or entry.get(RUN_ID)
    return _found(None, name, state, arch, entry, {}, run_id, trained, study.metric_figure)


def _found(
    number: int | None,
    name: str,
    state: str,
    arch: Arch | None,
    stored: dict[str, Any],
    params: dict[str, Any],
    run_id: str | None,
    feasible: bool,
    metric: str,
    rung: int | None = None,
) -> Found:
    return Found(
        number=number,
        name=name,
        state=state,
        arch=arch,
        figures=stored.get(FIGURES, {}),
        notes=stored.get(NOTES, {}),
        reason=stored.get(REASON),
        params=params,
        phases=stored.get(PHASES, {}),
        run_id=run_id,
        feasible=feasible,
        metric=metric,
        rung=rung,
    )


def _damaged(number: int | None, name: str, study: Study, error: HadnasError) -> Found:
    metric = study.metric_figure
    return Found(number, name, "damaged", None, {}, {}, str(error), {}, {}, None, feasible=False, metric=metric)
