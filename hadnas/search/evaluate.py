"""One evaluation: look up, cost, constraints, screen, latency, train, score; each figure is taken once and kept.

The ledger is asked before anything is done, so a candidate met again, in this study or another, is told back at once.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.errors import BuildError, HadnasError, LostClaim, MachineError, MeasurementError, StudyError, TrainingError
from hadnas.hosts.build import build, build_seeded, save_weights
from hadnas.measure.cost import Cost, cost
from hadnas.measure.latency.latency import protocol, protocol_key
from hadnas.measure.screen import screen
from hadnas.search.timing import figures, timed
from hadnas.source.trace import code_hash
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.records import Claim, Costs, Latency, Training, TrainingKey
from hadnas.store.study import COSTS, LATENCIES, Study
from hadnas.train.data.images import spread
from hadnas.train.data.spec import Data
from hadnas.train.loop import Epoch, fit, training_dtype

SCREENED = 32
"""Images that a candidate is screened with, or a batch if that is less."""


SIGN_LIKE = ("adam", "adamw", "nadam", "nadamw", "lion")
"""Optimizers whose first steps move every weight by about the learning rate, as the screen's trial updates do."""


class Refused(HadnasError):
    """A candidate that is not trained, or did not train: the reason, and its constraints as the sampler sees them."""

    def __init__(self, reason: str, constraints: dict[str, float]) -> None:
        super().__init__(reason)
        self.constraints = constraints


@dataclass
class Evaluation:
    """What is known of a candidate so far: figures and tags by their MLflow names, seconds by phase, its training."""

    arch: Arch
    figures: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    reused: bool = False
    training: Training | None = None
    counted: Cost | None = None
    module: nn.Module | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the body to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - start


class Evaluator:
    """Evaluates candidates of one study: everything that is the same for all of them."""

    def __init__(self, study: Study, data: Data, home: Home, ledger: Ledger, device: str) -> None:
        self.study = study
        self.data = data
        self.home = home
        self.ledger = ledger
        self.device = device
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

    def key(self, arch: Arch) -> TrainingKey:
        """What decides the outcome of training `arch` in this study."""
        if arch.fingerprint not in self._keys:
            self._keys[arch.fingerprint] = TrainingKey(
                fingerprint=arch.fingerprint,
                task=str(self.task),
                data=self.data.digest,
                recipe=self.recipe,
                epochs=self.study.recipe.epochs,
                seed=self.study.seed,
                code=code_hash(arch, self.task),
            )
        return self._keys[arch.fingerprint]

    def is_trained(self, arch: Arch) -> bool:
        """Whether a worker is training `arch` now."""
        return self.ledger.is_trained(self.key(arch))

    def measure(self, evaluation: Evaluation, *, held: bool) -> None:
        """Cost and latency and, where `held`, the screen and the constraints.

        Raises Refused with the constraint that is broken, or for a candidate that cannot be built or run.
        """
        try:
            self._measure(evaluation, held)
        except _FAULTS as error:
            raise Refused(str(error), {"trains": 1.0}) from error

    def _measure(self, evaluation: Evaluation, held: bool) -> None:
        arch = evaluation.arch
        self.ledger.put_architecture(arch.fingerprint, arch.json)
        with evaluation.phase("cost"):
            code = self.key(arch).code
            costs = self.ledger.get_cost(arch.fingerprint, str(self.task), code)
            if costs is None:
                evaluation.counted = cost(build(arch, self.task, device="meta"), self.data.shape)
                costs = Costs(*(getattr(evaluation.counted, name) for name in Costs.__dataclass_fields__))
                self.ledger.put_cost(arch.fingerprint, str(self.task), code, costs)
        evaluation.notes["code"] = code
        evaluation.figures |= asdict(costs) | {"flops": 2 * costs.macs}
        if held:
            self._hold(evaluation, COSTS)
        if held and self.ledger.training(self.key(arch)) is None:
            with evaluation.phase("screen"):
                self._screen(evaluation)
        if self.study.latency is not None:
            with evaluation.phase("latency"):
                self._time(evaluation, self.study.latency)
            if held:
                self._hold(evaluation, LATENCIES)

    def train(self, evaluation: Evaluation, on_epoch: Callable[[Epoch], None]) -> None:
        """Train, or take the training from the ledger, from a living worker that trains it when it has finished.

        Raises Refused for a candidate that does not train. However long another worker takes, it is waited for: one
        that died is found out by its heartbeat. A training that was lost to another, as this machine slept, is waited
        for in the same way.
        """
        while evaluation.training is None:
            key, versions = self.key(evaluation.arch), _versions()
            claim = self.ledger.claim(key, study=self.study.name, versions=versions, wait=math.inf)
            if claim.status == "done":
                evaluation.training, evaluation.reused = claim.training, True
                break
            try:
                self._train(evaluation, claim, on_epoch)
            except LostClaim:
                evaluation.module = None  # half trained
        self._take(evaluation)

    def _train(self, evaluation: Evaluation, claim: Claim, on_epoch: Callable[[Epoch], None]) -> None:
        """Train under a claim, which is closed or given back in any case."""
        try:
            with self.ledger.alive(claim), evaluation.phase("train"):
                module = self.fresh(evaluation)

                def note(epoch: Epoch) -> None:
                    with evaluation.phase("record"), _ours():
                        points = asdict(epoch)
                        self.ledger.add_epoch(claim, points["epoch"], **{k: points[k] for k in _POINTS})
                        on_epoch(epoch)

                result = fit(
                    module, self.data, self.study.recipe, seed=self.study.seed, device=self.device, on_epoch=note
                )
            with evaluation.phase("record"):
                with _ours():
                    written = save_weights(module, self.home.path / self.ledger.place_weights(claim))
                evaluation.training = self.ledger.finish(
                    claim,
                    val_accuracy=result.val_accuracy,
                    val_loss=result.val_loss,
                    val_n=result.val_n,
                    seconds=result.seconds,
                    weights_sha256=written,
                )
        except LostClaim:
            raise
        except BaseException as error:
            if (isinstance(error, HadnasError) and not isinstance(error, _FAULTS)) or not isinstance(error, Exception):
                with suppress(LostClaim):
                    self.ledger.release(claim)  # not the candidate's fault: it may be tried again
                raise
            reason = str(error) if isinstance(error, HadnasError) else f"{type(error).__name__}: {error}"
            if isinstance(error, MachineError):
                self.ledger.release(claim, reason)  # another study, or this one elsewhere, may try again
            else:
                self.ledger.fail(claim, reason)
            raise Refused(reason, {"trains": 1.0}) from error

    def fresh(self, evaluation: Evaluation) -> nn.Module:
        """The module with the initial weights that the study's seed gives it; screen and latency work on copies."""
        if evaluation.module is None:
            evaluation.module = build_seeded(evaluation.arch, self.task, self.study.seed)
        return evaluation.module

    def latency(self, evaluation: Evaluation, backend: str) -> Latency:
        """From the ledger, or taken now. Raises MeasurementError where the module or the backend fails."""
        fresh = partial(self.fresh, evaluation)
        return timed(evaluation.arch, self.task, fresh, self.ledger, device=self.device, backend=backend)

    def _screen(self, evaluation: Evaluation) -> None:
        """Refuse a candidate whose signal dies, explodes or is not finite before any training."""
        device = torch.device(self.device)
        some = spread(min(SCREENED, self.study.recipe.batch), len(self.data.train))
        images, labels = next(self.data.train.batches(len(some), device, some))
        dtype = training_dtype(self.study.recipe, device)
        lr = self.study.recipe.lr if self.study.recipe.optimizer in SIGN_LIKE else None
        seen = screen(self.fresh(evaluation), images, labels, device=device, dtype=dtype, lr=lr)
        if seen.rejected is not None:
            raise Refused(f"screen: {seen.rejected}", {"trains": 1.0})

    def _time(self, evaluation: Evaluation, backend: str) -> None:
        found = self.latency(evaluation, backend)
        evaluation.figures |= figures(found)
        evaluation.tags["hadnas.latency"] = json.dumps(found.protocol)
        key = protocol_key(dict(found.protocol))
        evaluation.notes |= {"latency_noisy": found.figures["noisy"], "latency_protocol": key}

    def _hold(self, evaluation: Evaluation, names: tuple[str, ...]) -> None:
        """Refuse a candidate that breaks a constraint on one of `names`."""
        broken = self.constraints(evaluation)
        for name in names:
            if broken.get(name, 0.0) > 0:
                found, limit = evaluation.figures[name], self.study.constraints[name]
                raise Refused(f"{name} = {found:.6g} is above the limit {limit:.6g}", broken)

    def constraints(self, evaluation: Evaluation) -> dict[str, float]:
        """value / limit - 1 for every constraint whose figure is known: above 0 is infeasible."""
        known = {name: limit for name, limit in self.study.constraints.items() if name in evaluation.figures}
        return {name: evaluation.figures[name] / limit - 1 for name, limit in known.items()}

    def _take(self, evaluation: Evaluation) -> None:
        """The figures of a finished training; one that failed is refused again, for the same reason."""
        training = evaluation.training
        assert training is not None
        if training.state != "complete" or training.val_accuracy is None or training.val_loss is None:
            raise Refused(training.reason or f"its training is {training.state}", {"trains": 1.0})
        evaluation.figures |= {"val/accuracy": training.val_accuracy, "val/loss": training.val_loss}
        evaluation.notes |= {"val_n": training.val_n, "train_seconds": training.seconds, "weights": training.weights}


_POINTS = ("train_loss", "val_loss", "val_accuracy", "seconds")


def _versions() -> dict[str, str]:
    import timm

    return {"torch": str(torch.__version__), "timm": timm.__version__}


_FAULTS = (BuildError, MeasurementError, TrainingError)
"""What is the candidate's fault, as is whatever its own code raises: it ends as pruned and never ends a study."""


@contextmanager
def _ours() -> Iterator[None]:
    """What fails while a result is written down is never the candidate's fault."""
    try:
        yield
    except HadnasError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise StudyError(f"a result could not be written down: {type(error).__name__}: {said}") from error
