"""The candidates of one study: what must be the same for all of them, and what the ledger knows of each."""

from functools import partial
from typing import Any

from torch import nn

from hadnas.arch.task import Task
from hadnas.hosts.build import build_seeded
from hadnas.hosts.host import Plan
from hadnas.measure.latency.latency import protocol
from hadnas.search.evaluate import constraints, evaluate
from hadnas.search.job import Job, Outcome
from hadnas.search.report import LedgerReport, Shown
from hadnas.search.timing import timed
from hadnas.source.trace import hash_of
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.records import Latency, TrainingKey
from hadnas.store.study import Study
from hadnas.train.data.spec import Data


class Evaluator:
    """Evaluates candidates of a study, each figure taken once: what the ledger knows is told back at once."""

    def __init__(self, study: Study, data: Data, home: Home, ledger: Ledger, device: str) -> None:
        self.study, self.data, self.home, self.ledger, self.device = study, data, home, ledger, device
        self.task = Task.image(*data.shape, classes=data.classes)
        # Epochs are the fidelity, a part of the key of their own.
        self.recipe = study.recipe.model_dump_json(exclude={"epochs"})
        self._keys: dict[str, TrainingKey] = {}  # of architectures met; the code of their blocks is read once

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same when the study goes on and its own data do not say.

        These are its images and, where latency decides what is found, how that is taken. `parts`, `class_names` and
        `notes` are for people.
        """
        data = self.data
        facts: dict[str, Any] = {"digest": data.digest, "shape": list(data.shape), "classes": data.classes}
        facts |= {"mean": list(data.mean), "std": list(data.std), "parts": data.parts}
        facts |= {"class_names": list(data.class_names), "notes": list(data.notes)}
        if self.study.latency is not None and self.study.deciding_latencies:
            facts["latency protocol"] = protocol(self.task.shape, device=self.device, backend=self.study.latency)
        return facts

    def key(self, plan: Plan) -> TrainingKey:
        """What decides the outcome of training a candidate in this study."""
        fingerprint = plan.arch.fingerprint
        if fingerprint not in self._keys:
            self._keys[fingerprint] = TrainingKey(
                fingerprint=fingerprint,
                task=str(self.task),
                data=self.data.digest,
                recipe=self.recipe,
                epochs=self.study.recipe.epochs,
                seed=self.study.seed,
                code=hash_of(plan.classes),
            )
        return self._keys[fingerprint]

    def job(self, plan: Plan, *, held: bool) -> Job:
        """What is to be done for a candidate; `held`: screened, and held to the study's constraints."""
        key = self.key(plan)
        return Job(
            arch=plan.arch,
            task=self.task,
            recipe=self.study.recipe,
            seed=self.study.seed,
            device=self.device,
            latency=self.study.latency,
            constraints=self.study.constraints if held else {},
            screened=held and self.ledger.training(key) is None,
            costs=self.ledger.measured.get_cost(key.fingerprint, key.task, key.code),
        )

    def evaluate(self, plan: Plan, shown: Shown, *, held: bool) -> Outcome:
        """Measure and train a candidate, or tell back what is known. Raises what is not the candidate's fault."""
        job = self.job(plan, held=held)
        with LedgerReport(job, self.key(plan), self.study.name, self.home, self.ledger, shown) as report:
            return evaluate(job, report, self.data, plan)

    def constraints(self, outcome: Outcome) -> dict[str, float]:
        """What the sampler learns of a candidate that was trained: constraint -> value / limit - 1."""
        return constraints(self.study.constraints, outcome.figures)

    def latency(self, plan: Plan, backend: str) -> Latency:
        """From the ledger, or taken now. Raises MeasurementError where the module or the backend fails."""
        self.ledger.measured.put_architecture(plan.arch.fingerprint, plan.arch.json)
        fresh: partial[nn.Module] = partial(build_seeded, plan, self.study.seed)
        code = self.key(plan).code
        return timed(plan.arch, self.task, code, fresh, self.ledger, device=self.device, backend=backend)
