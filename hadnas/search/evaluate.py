"""One evaluation: cost, constraints, screen, latency, training; independent of ledger, Optuna and MLflow."""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hadnas.errors import BuildError, HadnasError, LostClaim, MachineError, MeasurementError, SpecError, TrainingError
from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.host import Plan, make_plan
from hadnas.limits import check_memory
from hadnas.measure.cost import cost
from hadnas.measure.figures import values
from hadnas.measure.latency.latency import protocol_key
from hadnas.measure.screen import screen
from hadnas.search.job import Job, Outcome, Report
from hadnas.store.records import Costs
from hadnas.train.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from hadnas.train.data.images import evenly_spaced
from hadnas.train.data.spec import Data
from hadnas.train.device import training_dtype
from hadnas.train.loss import Loss
from hadnas.train.own import OwnTraining
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import Trainer
from hadnas.train.tuning.start import Start

SCREENED = 32
"""Images of the screen; a batch if that is less."""

SIGN_LIKE = ("adam", "adamw", "nadam", "nadamw", "lion")
"""Optimizers whose first steps move every weight by about the learning rate, as the screen's trial updates do."""

CHECKPOINT_EVERY = 20.0
"""Seconds of training between two checkpoints, at least: a kill loses at most these and an epoch."""

FAULTS = (BuildError, MeasurementError, TrainingError)
"""The candidate's faults, as is any error of its own code: the trial ends pruned, and the study continues."""


def evaluate(job: Job, report: Report, data: Data, plan: Plan | None = None, own: OwnTraining | None = None) -> Outcome:
    """Measure and train one candidate on `data`; `plan` is the job's plan, if this process has made it.

    The training is `own`, if that is given: it has no rungs and no checkpoints.

    The outcome of a candidate that breaks a constraint, cannot be built or does not train has a `reason`; one that was
    stopped at a rung also has a `rung`, no figures of its training, and a checkpoint to continue from. Raises errors
    that are not its fault: DataError, StudyError, KeyboardInterrupt.
    """
    outcome = Outcome()
    plan = plan or make_plan(job.arch, job.task)
    fresh = cache(partial(build_seeded, plan, job.seed))  # screen and latency copy it
    try:
        _measure(job, plan, report, data, outcome, fresh)
    except FAULTS as error:
        _refuse(outcome, str(error), {"trains": 1.0})
    except SystemExit as error:  # a block may call sys.exit
        _refuse(outcome, f"SystemExit: {error}", {"trains": 1.0})
    finally:
        with outcome.phase("track"):
            report.measured(outcome)
    while not outcome.reason and outcome.training is None:
        outcome.training = report.training()
        outcome.reused = outcome.training is not None
        if outcome.training is None:
            try:
                _train(job, plan, report, data, outcome, fresh(), own)
            except LostClaim:  # to another worker, as this machine slept: wait for its training
                fresh.cache_clear()
    if outcome.training is not None:
        _take(outcome)
        if outcome.rung is None:
            remove_checkpoint(job.checkpoint)
    return outcome


def _measure(
    job: Job, plan: Plan, report: Report, data: Data, outcome: Outcome, fresh: Callable[[], nn.Module]
) -> None:
    with outcome.phase("cost"):
        costs = job.costs
        if costs is None:
            outcome.counted = cost(build_plan(plan, device="meta"), *job.task.shapes)
            costs = Costs.of(outcome.counted)
    check_memory(4 * costs.params, "the network's weights")
    outcome.figures |= values("cost", costs)
    if _breaks(job, outcome):
        return
    if job.screened:
        with outcome.phase("screen"):
            _screen(job, data, outcome, fresh)
    if job.latency is not None and not outcome.reason:
        with outcome.phase("latency"):
            outcome.latency = report.time(fresh)
        outcome.figures |= values("latency", outcome.latency.figures)
        key = protocol_key(dict(outcome.latency.protocol))
        outcome.notes |= {"latency_noisy": outcome.latency.figures["noisy"], "latency_protocol": key}
        _breaks(job, outcome)


def _breaks(job: Job, outcome: Outcome) -> bool:
    """Refuse a candidate that breaks a constraint, as far as its figures are known."""
    found = overruns(job.constraints, outcome.figures)
    for name, over in found.items():
        if over > 0:
            value, limit = outcome.figures[name], job.constraints[name]
            _refuse(outcome, f"{name} = {value:.6g} is above the limit {limit:.6g}", found)
            return True
    return False


def overruns(limits: Mapping[str, float], figures: Mapping[str, float]) -> dict[str, float]:
    """value / limit - 1 for every constraint whose figure is known: above 0 is infeasible."""
    return {name: figures[name] / limit - 1 for name, limit in limits.items() if name in figures}


def _screen(job: Job, data: Data, outcome: Outcome, fresh: Callable[[], nn.Module]) -> None:
    """Refuse a candidate whose signal dies, explodes or is not finite before any training."""
    device = torch.device(job.device)
    some = evenly_spaced(min(SCREENED, job.recipe.batch), len(data.train))
    inputs, targets = next(data.train.batches(len(some), device, some))
    dtype = training_dtype(job.recipe, device)
    loss, lr = Loss(data, device=device), _step(job.recipe)
    seen = screen(fresh(), inputs, targets, device=device, dtype=dtype, lr=lr, loss=loss)
    if seen.rejected is not None:
        _refuse(outcome, f"screen: {seen.rejected}", {"trains": 1.0})


def _step(recipe: Recipe) -> float | None:
    return recipe.lr if recipe.optimizer in SIGN_LIKE else None


def start_of(plan: Plan, recipe: Recipe, class_names: Sequence[str]) -> Start:
    """What a recipe must know of the weights that a network starts from."""
    if plan.host.weights(plan) is None or not (recipe.of_weights or recipe.layer_decay):
        return Start(plan.name)
    return Start(plan.name, plan.host.origins(plan), partial(plan.host.teacher, plan, class_names))


def check_start(plan: Plan, recipe: Recipe, data: Data) -> None:
    """Check the weights that a network starts from, and the recipe that fine-tunes it.

    Raises StudyError for weights that cannot be loaded, SpecError or UnknownName for a recipe that does not fit them.
    """
    plan.host.check_start(plan)
    if recipe.of_weights:
        start = start_of(plan, recipe, data.class_names)
        start.check(build_plan(plan, device="meta"), recipe, data.target)
        start.distillation(recipe, torch.device("cpu"))


def _train(
    job: Job, plan: Plan, report: Report, data: Data, outcome: Outcome, module: nn.Module, own: OwnTraining | None
) -> None:
    try:
        with outcome.phase("train"):
            if own is None:
                start = start_of(plan, job.recipe, data.class_names)
                trainer = Trainer(module, data, job.recipe, seed=job.seed, device=job.device, start=start)
                _go_on(trainer, job.checkpoint)
                stopped, result = _to_the_end(trainer, job, report), trainer.result
            else:
                how: dict[str, Any] = {"seed": job.seed, "device": job.device, "on_epoch": report.epoch}
                stopped, result = "", own.fit(module, data, job.recipe, **how)
        with outcome.phase("record"):
            outcome.training = report.stopped(stopped) if stopped else report.trained(module, result)
    except LostClaim:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, HadnasError) and not isinstance(error, FAULTS):
            raise
        reason = str(error) if isinstance(error, HadnasError) else f"{type(error).__name__}: {error}"
        again = isinstance(error, MachineError)
        report.failed(reason, again=again)
        if not again:
            remove_checkpoint(job.checkpoint)
        _refuse(outcome, reason, {"trains": 1.0})


def _go_on(trainer: Trainer, checkpoint: Path) -> None:
    """Load the checkpoint of an earlier attempt into the trainer, if there is one that fits."""
    if checkpoint.exists():
        try:
            trainer.load(load_checkpoint(checkpoint))
        except SpecError as error:
            logging.getLogger(__name__).warning("%s; the training starts again", error)


def _to_the_end(trainer: Trainer, job: Job, report: Report) -> str:
    """Train to the last epoch, or to a rung; returns why it stops there, else "".

    Saves a checkpoint at intervals, and where the training stops or is interrupted between epochs. A training that
    continues asks the rung of its last epoch again; it has passed the earlier ones.
    """
    saved = trainer.seconds
    for epoch in itertools.chain([*trainer.curve], trainer.train(trainer.recipe.epochs)):
        reason = ""
        try:
            report.epoch(epoch)
            if epoch.epoch in job.rungs and epoch.epoch == len(trainer.curve):
                reason = report.stops(trainer.curve)
        except LostClaim:  # the checkpoint is another worker's, too
            raise
        except BaseException:
            save_checkpoint(trainer.state(), job.checkpoint)
            raise
        due = trainer.seconds - saved >= CHECKPOINT_EVERY and epoch.epoch < trainer.recipe.epochs
        if reason or due:
            save_checkpoint(trainer.state(), job.checkpoint)
            saved = trainer.seconds
        if reason:
            return reason
    return ""


def _take(outcome: Outcome) -> None:
    """Take the figures of a finished training; after a failed one, refuse the candidate for the same reason."""
    training = outcome.training
    assert training is not None
    if training.state == "stopped":
        outcome.reason, outcome.rung = training.reason or "", training.curve[-1].epoch
        return
    if training.state != "complete" or training.val_loss is None:
        _refuse(outcome, training.reason or f"its training is {training.state}", {"trains": 1.0})
        return
    outcome.figures |= values("training", training)
    outcome.notes |= {"val_n": training.val_n, "train_seconds": training.seconds, "weights": training.weights}


def _refuse(outcome: Outcome, reason: str, broken: dict[str, float]) -> None:
    outcome.reason, outcome.broken = reason, broken
