"""The ledger's records, as plain frozen values."""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError

from hadnas.errors import StudyError, cut

T = TypeVar("T")


def record(kind: type[T], values: Any) -> T:
    """A record of a row's values. Raises StudyError if the row is damaged: a value has another type."""
    try:
        found: T = _adapter(cast(Any, kind)).validate_python(values)
    except ValidationError as error:
        raise StudyError(f"a row of the ledger ({kind.__name__}) is damaged: {damage(error)}") from None
    return found


def damage(error: ValidationError) -> str:
    """The first place at which stored data has another type than it was written with, and the value there."""
    first = error.errors(include_url=False)[0]
    found = "" if first["type"] == "missing" else f" = {cut(first['input'])}"
    return f"{'.'.join(map(str, first['loc']))}{found}: {first['msg'][0].lower()}{first['msg'][1:]}"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


State = Literal["running", "complete", "failed", "interrupted", "stopped"]
"""Interrupted and stopped trainings have a checkpoint; the next worker that claims one continues it."""

Status = Literal["mine", "done", "running elsewhere"]


@dataclass(frozen=True, slots=True)
class TrainingKey:
    """Everything that determines the outcome of a training: equal keys are the same training."""

    fingerprint: str
    task: str
    data: str
    recipe: str
    epochs: int
    seed: int
    code: str

    @property
    def variant(self) -> str:
        """Eight hexadecimal digits that distinguish trainings of one architecture."""
        return hashlib.sha256(repr(astuple(self)[1:]).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Costs:
    """What one forward at batch 1 costs; each field is that of `hadnas.measure.cost.Cost`."""

    params: int
    macs: int
    elementwise: int
    products: int
    activations: int
    bytes_moved: int
    calls: int
    peak_activation_bytes: int

    @classmethod
    def of(cls, counted: object) -> "Costs":
        """The part of a `Cost` that the ledger stores."""
        return cls(*(getattr(counted, name) for name in cls.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class StoredLatency:
    """A latency measurement: the protocol that defines it and its figures (milliseconds, ratio, spread)."""

    protocol: Mapping[str, Any]
    figures: Mapping[str, Any]
    host: str
    created: float


@dataclass(frozen=True, slots=True)
class Test:
    """The score of a training on the test split: 1 (correct) or 0 for every image, "" for values, and the mean loss."""

    hits: Annotated[str, Field(pattern="^[01]*$")]
    loss: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a training curve: `epoch` counts from 1; a value that was not finite is None.

    `metrics` are those of the validation split by name, before version 6 of the ledger the accuracy alone.
    """

    attempt: int
    epoch: int
    train_loss: float | None
    val_loss: float | None
    metrics: Mapping[str, float]
    seconds: float | None
    created: float


@dataclass(frozen=True, slots=True)
class Training:
    """One training in the ledger.

    `study` is the one that trained it, `attempt` counts from 1 and rises with each interruption, times are seconds
    since 1970, `seconds` is the training time, `weights` the path of the weights relative to the home,
    `weights_sha256` the hash of that file as it was written (None before version 5 of the ledger). `metrics` are those
    of the validation split by name, before version 6 the accuracy alone.
    """

    key: TrainingKey
    study: str
    state: State
    reason: str | None
    attempt: int
    worker: str
    host: str
    versions: Mapping[str, Any]
    started: float
    heartbeat: float
    finished: float | None
    metrics: Mapping[str, float]
    val_loss: float | None
    val_n: int | None
    seconds: float | None
    weights: str | None
    weights_sha256: str | None
    curve: tuple[CurvePoint, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a worker that asks to train. Only with `mine` may it train and write."""

    status: Status
    key: TrainingKey
    id: int
    training: Training = field(repr=False)

    @property
    def attempt(self) -> int:
        """The number of this attempt at the training: a worker that lost its claim cannot write into the next one."""
        return self.training.attempt
