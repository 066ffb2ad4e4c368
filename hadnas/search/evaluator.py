"""Evaluation of one study's candidates under equal conditions, with the ledger for what is known already."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from hadnas.arch.task import Task
from hadnas.errors import HadnasError, LostClaim, StudyError
from hadnas.hosts.build import build_seeded, save_weights, trained
from hadnas.hosts.host import Plan
from hadnas.inputs import inputs_to_json
from hadnas.measure.figures import VAL
from hadnas.measure.latency.latency import protocol
from hadnas.search.evaluate import evaluate, overruns
from hadnas.search.job import Job, Outcome, StopRule, training_key
from hadnas.search.latency.timing import Quiet, timed
from hadnas.store.home import Home, checkpoint_of, score_of
from hadnas.store.ledger import Ledger
from hadnas.store.records import Claim, Costs, StoredLatency, Training, TrainingKey
from hadnas.store.study import Study
from hadnas.track.weights import fetched_weights
from hadnas.train.data.spec import Data
from hadnas.train.own import OwnTraining
from hadnas.train.score import load_score, score_module
from hadnas.train.summary import dummy
from hadnas.train.trainer import Epoch, Fit

_POINTS = ("train_loss", "val_loss", "metrics", "seconds")


class Shown(Protocol):
    """Shows an evaluation while it runs: a run in MLflow, a progress display."""

    def measured(self, outcome: Outcome) -> None:
        """Everything but the training is known."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch has ended."""

    def quiet(self) -> AbstractContextManager[None]:
        """A timing runs, during which nothing is shown."""


class LedgerReport:
    """The report of one job, to the ledger and to `shown`; a context, whose end releases an open claim."""

    def __init__(
        self, job: Job, key: TrainingKey, study: str, home: Home, ledger: Ledger, shown: Shown, rule: StopRule | None
    ) -> None:
        self.job, self.key, self.study = job, key, study
        self.home, self.ledger, self.shown, self.rule = home, ledger, shown, rule
        self.outcome = Outcome()
        self.claim: Claim | None = None
        self.seen = 0  # the last epoch that was shown

    def __enter__(self) -> "LedgerReport":
        return self

    def __exit__(self, *raised: object) -> None:
        if self.claim is not None:  # not the candidate's fault: another attempt may follow
            with suppress(StudyError):  # lost, or the database is away: then this worker soon counts as dead
                self.ledger.release(self.claim)

    def time(self, fresh: Callable[[], nn.Module]) -> StoredLatency:
        """From the ledger, or measured now and stored there."""
        job = self.job
        assert job.latency is not None
        how: dict[str, Any] = {"device": job.device, "backend": job.latency, "quiet": self.shown.quiet}
        return timed(job.arch, job.task, self.key.code, fresh, self.ledger, **how)

    def measured(self, outcome: Outcome) -> None:
        """Store the costs that were counted, and show the outcome."""
        self.outcome = outcome
        outcome.notes |= {"code": self.key.code, "device": self.job.device}
        if outcome.counted is not None:
            costs = Costs.of(outcome.counted)
            self.ledger.measured.put_cost(self.key.fingerprint, self.key.task, self.key.code, costs)
        self.shown.measured(outcome)

    def training(self) -> Training | None:
        """The finished training, after waiting for any living worker at it, or None with a claim to train."""
        versions = _versions()
        claim = self.ledger.claim(self.key, study=self.study, versions=versions, wait=math.inf)
        if claim.status == "done":
            return claim.training
        self.claim = claim
        return None

    def epoch(self, epoch: Epoch) -> None:
        """Add a point to the curve."""
        assert self.claim is not None
        points = asdict(epoch)
        try:
            with self.outcome.phase("record"), _ours():
                self.ledger.add_epoch(self.claim, epoch.epoch, **{name: points[name] for name in _POINTS})
                if epoch.epoch > self.seen:  # an attempt after a lost claim repeats epochs
                    self.shown.epoch(epoch)
                    self.seen = epoch.epoch
        except LostClaim:
            self.claim = None
            raise

    def stops(self, curve: Sequence[Epoch]) -> str:
        """What the rule says."""
        assert self.rule is not None
        with self.outcome.phase("record"), _ours():
            return self.rule(self.outcome.figures, curve)

    def stopped(self, reason: str) -> Training:
        """Close the training without figures."""
        assert self.claim is not None
        claim, self.claim = self.claim, None
        return self.ledger.stop(claim, reason)

    def trained(self, module: nn.Module, result: Fit) -> Training:
        """Write the weights and close the training."""
        assert self.claim is not None
        with _ours():
            place, score = self.home.file(self.ledger.place_weights(self.claim)), result.score
            written = save_weights(module, place)
            score.save(place.with_suffix(".val.safetensors"))
        claim, self.claim = self.claim, None
        figures: dict[str, Any] = {
            "metrics": {**score.metrics, **result.figures},
            "val_loss": score.loss,
            "val_n": score.n,
        }
        return self.ledger.finish(claim, **figures, seconds=result.seconds, weights_sha256=written)

    def failed(self, reason: str, *, again: bool) -> None:
        """Close a failed training; with `again` another worker or study may try it."""
        assert self.claim is not None
        claim, self.claim = self.claim, None
        if again:
            self.ledger.release(claim, reason)
        else:
            self.ledger.fail(claim, reason)


def _versions() -> dict[str, str]:
    import timm

    return {"torch": str(torch.__version__), "timm": timm.__version__}


@contextmanager
def _ours() -> Iterator[None]:
    """Turn errors while a result is stored or read back into StudyError: they are never the candidate's fault."""
    try:
        yield
    except HadnasError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise StudyError(f"a result cannot be stored or read back: {type(error).__name__}: {said}") from error


class Evaluator:
    """Evaluates candidates of a study; the ledger gives every figure that is known already."""

    def __init__(
        self, study: Study, data: Data, home: Home, ledger: Ledger, device: str, own: OwnTraining | None = None
    ) -> None:
        self.study, self.data, self.home, self.ledger, self.device, self.own = study, data, home, ledger, device, own
        if study.evaluate != (own.mark if own else ""):
            raise StudyError(
                f"study {study.name!r}: its trainings are by {study.evaluate or 'the recipe'}; found "
                f"{own.mark if own else 'no function'}; pass the same one with --evaluate FILE:FUNCTION"
            )
        self.task = Task(data.inputs, data.classes, data.target)
        self._keys: dict[str, TrainingKey] = {}  # by fingerprint, as the code of blocks is read once

    @property
    def facts(self) -> dict[str, Any]:
        """What must not change when the study continues, beside the study itself.

        These are its images and, if latency is an objective or a constraint, its protocol. `parts`, `class_names`,
        `notes` and `dummy` are for people, and may change.
        """
        data = self.data
        facts: dict[str, Any] = {"digest": data.digest, "classes": data.classes, "parts": data.parts}
        facts |= {"target": data.target} if data.target != "classes" else {}  # which early studies do not name
        facts |= inputs_to_json(data.inputs, data.moments_of_inputs)
        facts |= {"class_names": list(data.class_names), "notes": list(data.notes)}
        facts["dummy"] = asdict(dummy(data, self.study.metric_figure.removeprefix(VAL)))
        if self.study.latency is not None and self.study.deciding_latencies:
            facts["latency protocol"] = protocol(*self.task.shapes, device=self.device, backend=self.study.latency)
        return facts

    def key(self, plan: Plan) -> TrainingKey:
        """Everything that determines the outcome of training a candidate in this study."""
        fingerprint = plan.arch.fingerprint
        if fingerprint not in self._keys:
            self._keys[fingerprint] = training_key(self.study, self.task, self.data.digest, plan)
        return self._keys[fingerprint]

    def keep(self, plan: Plan) -> None:
        """Store the architecture in the ledger, before anything refers to it."""
        self.ledger.measured.put_architecture(plan.arch.fingerprint, plan.arch.json)

    def job(self, plan: Plan, *, held: bool, rungs: tuple[int, ...] = ()) -> Job:
        """The job of a candidate; if `held`, it is screened and subject to the study's constraints."""
        key = self.key(plan)
        return Job(
            arch=plan.arch,
            task=self.task,
            recipe=self.study.recipe,
            seed=self.study.seed,
            device=self.device,
            checkpoint=checkpoint_of(key, self.home),
            latency=self.study.latency,
            constraints=self.study.constraints if held else {},
            screened=held and self.ledger.training(key) is None,
            costs=self.ledger.measured.get_cost(key.fingerprint, key.task, key.code),
            rungs=rungs,
        )

    def evaluate(self, plan: Plan, shown: Shown, *, held: bool, rule: StopRule | None = None) -> Outcome:
        """Measure and train a candidate, or return what is known. Raises errors that are not the candidate's fault.

        The `rule` may stop it at the study's rungs; without a rule it is trained to the end.
        """
        self.keep(plan)
        job = self.job(plan, held=held, rungs=self.study.rungs if rule else ())
        with LedgerReport(job, self.key(plan), self.study.name, self.home, self.ledger, shown, rule) as report:
            outcome = evaluate(job, report, self.data, plan, self.own)
        if outcome.training is not None and outcome.training.state == "complete":
            self._judge(plan, outcome)
        return outcome

    def _judge(self, plan: Plan, outcome: Outcome) -> None:
        """Add the outputs on the validation split, the metrics, and the standard error of the study's metric.

        A training from before version 6 of the ledger is scored again by its weights.
        """
        training, metric = outcome.training, self.study.metric_figure.removeprefix(VAL)
        assert training is not None
        if training.weights is None:
            return
        with _ours():
            path = score_of(training, self.home, "val")
            if not path.exists() and metric not in training.metrics:
                network = trained(plan, fetched_weights(training, self.home))
                score_module(network, self.data, batch=self.study.recipe.evaluation_batch, device=self.device).save(
                    path
                )
            outcome.score = load_score(path) if path.exists() else None
        if outcome.score is not None:
            known = {**outcome.score.metrics, **training.metrics}
            outcome.figures |= {f"{VAL}{name}": value for name, value in known.items()}
            if metric != "accuracy":  # which has a formula
                outcome.notes["standard_error"] = outcome.score.standard_error(metric)

    def overruns(self, outcome: Outcome) -> dict[str, float]:
        """The constraints of a trained candidate, for the sampler: name -> value / limit - 1."""
        return overruns(self.study.constraints, outcome.figures)

    def latency(self, plan: Plan, backend: str, quiet: Quiet = nullcontext) -> StoredLatency:
        """From the ledger, or measured now. Raises MeasurementError if the module or the backend fails."""
        self.keep(plan)
        fresh: partial[nn.Module] = partial(build_seeded, plan, self.study.seed)
        code = self.key(plan).code
        how: dict[str, Any] = {"device": self.device, "backend": backend, "quiet": quiet}
        return timed(plan.arch, self.task, code, fresh, self.ledger, **how)
