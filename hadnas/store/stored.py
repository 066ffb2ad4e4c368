"""The attributes of a study in Optuna's storage, read back and checked against the types that they were written with.

A disk, a tool or another version can damage rows. A damaged trial is reported with its number, and the others are
read; the attributes of the study as a whole must all be valid.
"""

import itertools
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from hadnas.errors import HadnasError, StudyError, cut
from hadnas.store.database import clear_errors
from hadnas.store.home import optuna_storage
from hadnas.store.records import damage
from hadnas.store.study import metric_figure
from hadnas.store.trials import BASELINE, FIGURES, NOTES, REASON, STUDY, FinalEntry
from hadnas.targets import TargetKind

if TYPE_CHECKING:
    from hadnas.store.home import Home

GAP = 100
"""Missing numbers in a row after which the trials end: numbers are consecutive, except for damaged trials."""

Number = StrictFloat
"""An integer passes, too: values are only checked here, and used as they were stored."""
Side = Annotated[StrictInt, Field(ge=1)]


class KeptInput(BaseModel):
    """One of several inputs."""

    name: StrictStr
    shape: list[Side] | None = None
    tokens: tuple[Side, Side] | None = None
    mean: list[Number] | None = None
    std: list[Number] | None = None


class KeptStudy(BaseModel):
    """The attribute `study`, except for the study itself: its images and its user-defined blocks."""

    shape: tuple[Side, Side, Side]
    classes: Side
    target: TargetKind = "classes"
    digest: StrictStr
    mean: list[Number]
    std: list[Number]
    inputs: list[KeptInput] = []
    parts: dict[str, Any] = {}
    blocks: dict[str, StrictStr] = {}
    source: StrictStr = ""
    data: dict[str, Any]
    space: dict[str, Any]
    baselines: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_several_inputs(cls, stored: Any) -> Any:
        """With `inputs` it has no shape, mean and std of an image."""
        if not isinstance(stored, dict) or "inputs" not in stored:
            return stored
        return {**stored, "shape": (1, 1, 1), "mean": [], "std": []}


class KeptNotes(BaseModel):
    """The notes of a trial or baseline."""

    code: StrictStr = ""
    val_n: Side | None = None
    standard_error: Number | None = None
    weights: StrictStr | None = None
    train_seconds: Number | None = None
    latency_noisy: StrictBool = False
    latency_protocol: StrictStr | None = None
    reused: StrictBool = False


class KeptTrial(BaseModel):
    """The attributes of a trial, or of a baseline."""

    fingerprint: StrictStr | None = None
    run_id: StrictStr | None = None
    reason: StrictStr | None = None
    rung: Annotated[StrictInt, Field(ge=1)] | None = None
    figures: dict[str, Number] = {}
    notes: KeptNotes = KeptNotes()
    phases: dict[str, Number] = {}
    constraints: dict[str, Number] = {}


class KeptFigures(BaseModel):
    """Figures and notes of a candidate that was trained to the last epoch."""

    model_config = ConfigDict(populate_by_name=True)

    accuracy: Annotated[float | None, Field(ge=0, le=1, alias="val/accuracy")] = None
    macs: Number
    params: Number
    products: Number
    val_n: Side


class KeptLatency(BaseModel):
    """A latency that was measured when the search ended, or the reason why not."""

    protocol: StrictStr
    code: StrictStr = ""
    reason: StrictStr | None = None


class KeptAttributes(BaseModel):
    """The attributes of a study, without those of single baselines and latencies."""

    study: KeptStudy
    finals: list[FinalEntry] = []
    finals_runs: dict[str, StrictStr] = {}
    test_opened_for: list[StrictStr] = []


def check(kind: type[BaseModel], value: Any, what: str) -> None:
    """Raise StudyError, with the place in `what`, if `value` has other types than it was written with."""
    try:
        kind.model_validate(value)
    except ValidationError as error:
        raise StudyError(f"{what} is damaged: {damage(error)}") from None


def check_entry(entry: Any, what: str, *, needed: Collection[str] = ()) -> None:
    """Raise StudyError if the stored attributes of a trial or baseline are damaged, or lack a figure `needed`."""
    check(KeptTrial, entry, what)
    if needed:
        figures = entry.get(FIGURES, {})
        check(KeptFigures, {**entry.get(NOTES, {}), **figures}, what)
        if missing := sorted(set(needed) - set(figures)):
            raise StudyError(f"{what} is damaged: it has no {', '.join(missing)}")


def whole_latency(entry: Any) -> dict[str, Any]:
    """The stored entry of a latency; if it is damaged, a failure with that reason."""
    try:
        check(KeptLatency, entry, "what is kept of it")
    except StudyError as error:
        return {"protocol": "", REASON: str(error)}
    return dict(entry)


def read_attributes(book: optuna.Study, url: str) -> dict[str, Any]:
    """The attributes of a study; without `study` among them, it never began. Raises StudyError if they are damaged."""
    with clear_errors(url, f"study {book.study_name!r}"):
        found = book.user_attrs
    if STUDY in found:
        check(KeptAttributes, found, f"what is kept of study {book.study_name!r}")
    for key, entry in found.items():
        if not isinstance(key, str):  # SQLite stores bytes in a column of text
            raise StudyError(f"an attribute of study {book.study_name!r} is damaged: its name {cut(key)} is no text")
        if key.startswith(f"{BASELINE}:") and not isinstance(entry, dict):  # its content is checked when it is read
            raise StudyError(f"{key} is damaged: {cut(entry)} is no mapping")
    return found


def read_trials(book: optuna.Study, home: "Home") -> Iterator[tuple[int, FrozenTrial | StudyError]]:
    """Every trial by its number, except failed ones; for a damaged one the error that describes the damage."""
    stored = book.user_attrs.get(STUDY, {"objectives": []})
    trained = (metric_figure(stored.get("metric"), stored["objectives"]), *stored["objectives"])
    for number, trial in _trials(book, home):
        if isinstance(trial, FrozenTrial):
            if trial.state == TrialState.FAIL:
                continue
            try:
                kept = {**trial.user_attrs, "constraints": trial.constraints}
                check_entry(kept, f"trial {number}", needed=trained if trial.state == TrialState.COMPLETE else ())
            except StudyError as error:
                trial = error
        yield number, trial


def check_trials(book: optuna.Study, home: "Home") -> None:
    """Raise StudyError for the first damaged trial: a search would count it and learn from it."""
    for _, trial in read_trials(book, home):
        if isinstance(trial, StudyError):
            raise StudyError(f"study {book.study_name!r}: {trial}; search on under another --name") from trial


def _trials(book: optuna.Study, home: "Home") -> Iterator[tuple[int, FrozenTrial | StudyError]]:
    try:
        with clear_errors(home.url):
            trials = book.get_trials(deepcopy=False)
    except HadnasError:  # of the database as a whole
        raise
    except Exception:  # a row that Optuna cannot read: one by one, to find which
        yield from _one_by_one(book, home)
    else:
        yield from ((trial.number, trial) for trial in trials)


def _one_by_one(book: optuna.Study, home: "Home") -> Iterator[tuple[int, FrozenTrial | StudyError]]:
    storage = optuna_storage(home)
    with clear_errors(home.url):
        study = storage.get_study_id_from_name(book.study_name)
    lacking = 0
    for number in itertools.count():
        try:
            trial_id = storage.get_trial_id_from_study_id_trial_number(study, number)
        except KeyError:
            lacking += 1
            if lacking == GAP:
                return
            continue
        lacking = 0
        try:
            with clear_errors(home.url, f"trial {number}"):
                yield number, storage.get_trial(trial_id)
        except StudyError as error:
            yield number, error
