"""What is to be evaluated and what came of it, as plain values that go to another process and back."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.hosts.host import Plan
from hadnas.measure.cost import Cost
from hadnas.source.trace import hash_of
from hadnas.store.records import Costs, StoredLatency, Training, TrainingKey
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe
from hadnas.train.score import Score
from hadnas.train.trainer import Epoch, Fit


@dataclass(frozen=True)
class Job:
    """One candidate and how it is measured and trained.

    checkpoint   where the training is saved until it is over, and goes on from
    latency      the backend that times it, or None
    constraints  figure -> largest value allowed; nothing for a baseline
    screened     whether it is screened before it is trained
    costs        what is known of its cost, or None
    rungs        epochs after which the report is asked whether the training stops
    """

    arch: Arch
    task: Task
    recipe: Recipe
    seed: int
    device: str
    checkpoint: Path
    latency: str | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    screened: bool = True
    costs: Costs | None = None
    rungs: tuple[int, ...] = ()


StopRule = Callable[[Mapping[str, float], Sequence[Epoch]], str]
"""Given the figures known before a training, and its curve: why it stops there, or "" where it goes on."""


def training_key(study: Study, task: Task, digest: str, plan: Plan) -> TrainingKey:
    """What decides the outcome of training a candidate of a study, whose images have the hash `digest`."""
    return TrainingKey(
        fingerprint=plan.arch.fingerprint,
        task=str(task),
        data=digest,
        recipe=study.recipe.model_dump_json(exclude={"epochs"}),  # epochs are the fidelity, a part of their own
        epochs=study.recipe.epochs,
        seed=study.seed,
        code=hash_of(plan.classes),
    )


@dataclass
class Outcome:
    """What an evaluation found, as far as it came.

    figures   by their names in studies and in MLflow
    notes     what else a study keeps with a candidate
    phases    seconds by phase
    counted   the cost by module, where it was counted now
    latency   with its protocol
    training  as the ledger has it; `reused` where it was not done now
    reason    why the candidate is not trained, did not train or was stopped, else ""
    rung      the epoch after which its training was stopped, else None
    score     the outputs of the trained network on the validation split
    broken    what the sampler learns of that: constraint -> above 0 where it is broken
    """

    figures: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    counted: Cost | None = None
    latency: StoredLatency | None = None
    training: Training | None = None
    reused: bool = False
    reason: str = ""
    rung: int | None = None
    score: Score | None = None
    broken: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the body to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - start


class Report(Protocol):
    """What an evaluation asks and says as it goes: the ledger, the claims and the live run stand behind it."""

    def time(self, fresh: Callable[[], nn.Module]) -> StoredLatency:
        """The candidate's latency, known from before or taken now of `fresh()`."""

    def measured(self, outcome: Outcome) -> None:
        """Everything before the training is known, or the candidate is refused."""

    def training(self) -> Training | None:
        """The finished training of this candidate, waited for where another worker is at it; None: train it now."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch has ended, now or in an earlier attempt that this one goes on from: each comes once, in order.

        Raises LostClaim where another worker took the training over.
        """

    def stops(self, curve: Sequence[Epoch]) -> str:
        """Why the training stops after the last epoch of `curve`, a rung, or "": it goes on."""

    def stopped(self, reason: str) -> Training:
        """The training was stopped and has a checkpoint."""

    def trained(self, module: nn.Module, result: Fit) -> Training:
        """The training is complete: keep its weights and figures."""

    def failed(self, reason: str, *, again: bool) -> None:
        """The training failed; `again`: another time it may succeed."""
