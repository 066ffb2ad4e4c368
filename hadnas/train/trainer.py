"""Trains a module: the same code on CPU and CUDA, for images in memory and streamed ones, at once or in parts.

A trainer's seed determines shuffling, augmentation, mixup and the module's own draws (dropout, drop path). Between
epochs the global generators of Python, torch and numpy have the caller's states. On a CPU the same seed, module and
number of threads give the same curve and weights to the last bit, also if the training stops after an epoch and
continues from a file; a CUDA device may need `torch.use_deterministic_algorithms(True)` for that.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import timm
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from hadnas.errors import DataError, SpecError, TrainingError, cut
from hadnas.inputs import Inputs
from hadnas.train.augment import augmented, check_augment
from hadnas.train.data.spec import Data
from hadnas.train.device import machine_errors, training_dtype
from hadnas.train.loss import Loss
from hadnas.train.optimizer import load_optimizer, make_optimizer, make_schedule, optimizer_state
from hadnas.train.recipe import Recipe
from hadnas.train.score import Score, check_losses, checked_outputs, score_module
from hadnas.train.seeds import drawing_from, global_generators, seeded, shuffled
from hadnas.train.tuning.start import Frozen, Start

# Steps between two checks of the losses: each check waits for the device.
LOOK_EVERY = 50

STATE_VERSION = 2
"""The version of `Trainer.state`; `Trainer.load` refuses any other."""


@dataclass(frozen=True)
class Epoch:
    """One epoch, from 1: `metrics` are of the validation split, `lr` is the last one used, `seconds` has validation."""

    epoch: int
    train_loss: float
    val_loss: float
    metrics: dict[str, float]
    lr: float
    seconds: float

    @property
    def val_accuracy(self) -> float | None:
        """The share of validation images classified correctly; None without classes."""
        return self.metrics.get("accuracy")


@dataclass(frozen=True)
class Fit:
    """One Epoch per epoch, the score after the last one, never the best, and `figures` that replace its metrics."""

    curve: list[Epoch]
    score: Score
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)


def fit(
    module: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    start: Start | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fit:
    """Train `module` in place to its recipe's last epoch, as a `Trainer` does.

    An exception of `on_epoch` ends the training and is passed on.
    """
    trainer = Trainer(module, data, recipe, seed=seed, device=device, start=start)
    for epoch in trainer.train(recipe.epochs):
        if on_epoch is not None:
            on_epoch(epoch)
    return trainer.result


class Trainer:
    """A module of the data's inputs -> (B, outputs) in training: optimiser, schedule, average, generators, curve.

    The module moves to `device` and is trained in place, from its initial weights. After the last epoch of the recipe
    it has the weights that were scored (the averaged ones if the recipe has `ema`), contiguous and in eval mode. An
    incomplete last batch is used unless it has a single image, which gives a batch norm no variance; with mixup, the
    last of an odd number of images is left out as well. A module of values is trained on standardised ones; after the
    last epoch its last layer is changed so that it gives the data's own units. `start` is the module's parent, for
    recipes that fine-tune.

        trainer = Trainer(module, data, recipe, seed=0)
        for epoch in trainer.train(3): ...
        save_checkpoint(trainer.state(), path)
        # later, in another process, with a module built alike
        trainer = Trainer(module, data, recipe, seed=0)
        trainer.load(load_checkpoint(path))
        for epoch in trainer.train(recipe.epochs): ...  # from epoch 4

    Raises DataError if a batch is larger than the training split or timm cannot augment such images, SpecError if the
    recipe does not fit target and start, TrainingError if a module of values does not end in a linear layer,
    MachineError if memory runs out or a device fails.
    """

    def __init__(
        self,
        module: nn.Module,
        data: Data,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        start: Start | None = None,
    ) -> None:
        if recipe.batch > (n := len(data.train)):
            raise DataError(f"{data.name}: batch {recipe.batch} is larger than the training split; allowed: 2 to {n}")
        check_augment(data, recipe)
        began, start = time.perf_counter(), start or Start()
        start.check(module, recipe, data.target)
        self.module, self.data, self.recipe, self.seed, self.device = module, data, recipe, seed, torch.device(device)
        self.curve: list[Epoch] = []
        self._score: Score | None = None  # after the last epoch of the curve
        self._cut_short = False
        self._loss = Loss(data, recipe, self.device)
        bf16 = training_dtype(recipe, self.device) == torch.bfloat16
        self._autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)
        channels_last = bf16 or self.device.type == "cpu" if recipe.channels_last == "auto" else recipe.channels_last
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._images = len(data.train) - (len(data.train) % recipe.batch == 1)
        self._steps = math.ceil(self._images / recipe.batch)  # in an epoch
        self._generator = torch.Generator().manual_seed(seed)
        with seeded(seed, self.device), machine_errors():
            self._global = global_generators(self.device)
            module.to(self.device).to(memory_format=self._format)
            self._frozen = Frozen(module, recipe, start)
            self.optimizer = make_optimizer(module, recipe, start.origins)
            self._schedule = make_schedule(self.optimizer, recipe, self._steps)
            self._ema = ModelEmaV3(module, decay=recipe.ema, use_warmup=True) if recipe.ema is not None else None
            self._loss.check(module)
            self._distillation = start.distillation(recipe, self.device)
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._lr = recipe.lr
        self.seconds = time.perf_counter() - began

    def train(self, until: int) -> Iterator[Epoch]:
        """Train up to and including the epoch `until` (from 1), one epoch for each item that the caller takes.

        Each is scored on the validation split. Raises TrainingError if a loss is not finite or the module's output has
        the wrong shape, MachineError if memory runs out or a device or a decoding process fails, SpecError for an
        epoch after the recipe's last.
        """
        if not 1 <= until <= self.recipe.epochs:
            raise SpecError(f"until = {until} is not allowed; allowed is an epoch from 1 to {self.recipe.epochs}")
        while len(self.curve) < until:
            self._check_whole()
            self._cut_short = True
            with drawing_from(self._global, self.device), machine_errors():
                epoch = self._epoch(len(self.curve) + 1)
            self.seconds += epoch.seconds
            self.curve.append(epoch)
            self._cut_short = False
            yield epoch

    @property
    def result(self) -> Fit:
        """The curve so far and the score after its last epoch."""
        return Fit([*self.curve], self._score or self._scored(len(self.curve)), self.seconds)  # a state has no score

    def state(self) -> dict[str, Any]:
        """Everything needed to continue the training, for `save_checkpoint`: tensors and plain values.

        Save it before the next epoch, which changes its tensors. Raises TrainingError if an epoch was interrupted.
        """
        self._check_whole()
        return self._state()

    def _state(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "training": self._training(),
            "module": self.module.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "average": None if self._ema is None else self._ema.module.state_dict(),
            "generator": self._generator.get_state(),
            "global generators": dict(self._global),
            "curve": [asdict(epoch) for epoch in self.curve],
            "seconds": self.seconds,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state. Raises SpecError, before any change, for a malformed state or another training's."""
        if state.get("version") != STATE_VERSION:
            raise SpecError(f"the checkpoint has version {cut(state.get('version'))}; allowed is {STATE_VERSION}")
        if bad := [name for name, own in self._state().items() if not isinstance(own, type(state.get(name)))]:
            raise SpecError(
                f"the checkpoint lacks {', '.join(bad)}, or it is of another type; allowed is a whole state"
            )
        own, found = self._training(), state["training"]
        for name in {**own, **found}:
            if own.get(name) != found.get(name):
                raise SpecError(
                    f"the checkpoint is of another training: its {name} is {cut(found.get(name))}; allowed is "
                    f"{cut(own.get(name))}"
                )
        with machine_errors():
            self.module.to(memory_format=self._format).load_state_dict(state["module"])
            load_optimizer(self.optimizer, state["optimizer"])  # with the rate of the next update
            if self._ema is not None:
                self._ema.module.load_state_dict(state["average"])
        self._generator.set_state(state["generator"])
        self._global.update({name: state["global generators"].get(name, own) for name, own in self._global.items()})
        self.curve = [Epoch(**epoch) for epoch in state["curve"]]
        self.seconds = state["seconds"]
        self._cut_short = False
        self._score = None
        if len(self.curve) == self.recipe.epochs:  # its weights are those that were scored
            self.module.to(memory_format=torch.contiguous_format).eval()

    def _training(self) -> dict[str, Any]:
        """The training that a state belongs to. Versions are included: another torch or timm may store other states."""
        return {
            **{f"recipe.{name}": value for name, value in self.recipe.model_dump(mode="json").items()},
            "data": self.data.digest,
            "seed": self.seed,
            "torch": str(torch.__version__),
            "timm": timm.__version__,
            **{f"module.{name}": f"{tuple(t.shape)} {t.dtype}" for name, t in self.module.state_dict().items()},
        }

    def _check_whole(self) -> None:
        if self._cut_short:
            raise TrainingError(f"epoch {len(self.curve) + 1} was interrupted: load a checkpoint to continue")

    def _epoch(self, epoch: int) -> Epoch:
        """Train and score one epoch."""
        began = time.perf_counter()
        train_loss = self._pass(epoch)
        if epoch == self.recipe.epochs:
            self._settle()
        self._score = score = self._scored(epoch)
        if not math.isfinite(score.loss):
            raise TrainingError(f"epoch {epoch}: validation loss is {score.loss}")
        return Epoch(epoch, train_loss, score.loss, score.metrics, self._lr, time.perf_counter() - began)

    def _settle(self) -> None:
        """Give the module the weights that are scored, in the data's own units, contiguous and in eval mode."""
        if self._ema is not None:
            self.module.load_state_dict(self._ema.module.state_dict())
        self.module.to(memory_format=torch.contiguous_format).eval()
        self._frozen.release()
        self._loss.settle(self.module)

    def _scored(self, epoch: int) -> Score:
        """The score after an epoch: of the averaged weights if there are any."""
        module = self.module if self._ema is None or epoch == self.recipe.epochs else self._ema.module
        scored = module if epoch == self.recipe.epochs else self._loss.in_own_units(module)
        return score_module(scored, self.data, batch=self.recipe.evaluation_batch, device=self.device)

    def _pass(self, epoch: int) -> float:
        """One pass over the training split; returns the mean loss per image."""
        recipe, device = self.recipe, self.device
        self._frozen.train(self.module)
        labels, balanced = self.data.train.labels, recipe.sampling == "balanced"
        order = shuffled(labels, self._generator, balanced=balanced)[: self._images]
        losses = torch.zeros(self._steps, device=device)
        seen = torch.zeros(self._steps)
        batches = augmented(self.data.train, recipe, device, order, self._generator)
        for step, (inputs, targets) in enumerate(batches):
            if recipe.mixup > 0:
                inputs, targets = self._loss.mixed(inputs, targets)
            loss = self._update(inputs, targets, (epoch - 1) * self._steps + step)
            losses[step], seen[step] = loss, len(targets)
            if step % LOOK_EVERY == LOOK_EVERY - 1:
                check_losses(losses, epoch)
        check_losses(losses, epoch)
        return float((losses.cpu() * seen).sum() / seen.sum())

    def _update(self, inputs: Inputs, targets: Tensor, done: int) -> Tensor:
        """One step, with `done` before it; `targets` are those of the data, or of mixup."""
        with self._autocast:
            placed = (one.contiguous(memory_format=self._format) if one.ndim == 4 else one for one in inputs)
            outputs = checked_outputs(self.module, tuple(placed), self.data.classes)
            loss = self._loss(outputs, targets)
            if self._distillation is not None:
                loss = self._distillation(loss, inputs, outputs)
        loss.backward(create_graph=getattr(self.optimizer, "is_second_order", False))  # type: ignore[no-untyped-call]
        if self.recipe.clip_grad is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.recipe.clip_grad)
        self._lr = max(group["lr"] for group in self.optimizer.param_groups)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._schedule.step_update(done + 1)
        if self._ema is not None:
            self._ema.update(self.module, step=done + 1)
        return loss.detach()
