"""Trains a module: the same code on CPU and CUDA, for images in memory and streamed ones, at once or in parts.

A trainer's seed determines shuffling, augmentation, mixup and the module's own draws (dropout, drop path). Between
epochs the global generators of Python, torch and numpy have the caller's states. On a CPU the same seed, module and
number of threads give the same curve and weights to the last bit, also if the training stops after an epoch and
continues from a file; a CUDA device may need `torch.use_deterministic_algorithms(True)` for that.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from hadnas.errors import DataError, SpecError, TrainingError, cut
from hadnas.train.augment import Shifts
from hadnas.train.data.images import Batches
from hadnas.train.data.spec import Data
from hadnas.train.device import machine_errors
from hadnas.train.optimizer import load_optimizer, make_optimizer, make_schedule, optimizer_state
from hadnas.train.policy import CHANNELS, Augmented
from hadnas.train.recipe import PLAIN, Policy, Recipe
from hadnas.train.score import check_losses, checked_logits, score_module
from hadnas.train.seeds import drawing_from, global_generators, seeded

# Steps between two checks of the losses: each check waits for the device.
LOOK_EVERY = 50

STATE_VERSION = 1
"""The version of `Trainer.state`; `Trainer.load` refuses any other."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of training. `epoch` counts from 1; `lr` is the last one used; `seconds` includes validation."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float


@dataclass(frozen=True)
class Fit:
    """The result of a training: one Epoch per epoch, and the score after the last one, never the best."""

    curve: list[Epoch]
    val_accuracy: float
    val_loss: float
    val_n: int
    seconds: float


def fit(
    module: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fit:
    """Train `module` in place to its recipe's last epoch, as a `Trainer` does.

    An exception of `on_epoch` ends the training and is passed on.
    """
    trainer = Trainer(module, data, recipe, seed=seed, device=device)
    for epoch in trainer.train(recipe.epochs):
        if on_epoch is not None:
            on_epoch(epoch)
    return trainer.result


def training_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """The dtype of activations: bfloat16 under autocast, else float32."""
    supported = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    bf16 = recipe.amp == "bf16" or (recipe.amp == "auto" and supported)
    return torch.bfloat16 if bf16 else torch.float32


class Trainer:
    """A module (B, C, H, W) -> (B, classes) in training: optimiser, schedule, average, generators, curve.

    The module moves to `device` and is trained in place, from its initial weights. After the last epoch of the recipe
    it has the weights that were scored (the averaged ones if the recipe has `ema`), contiguous and in eval mode. An
    incomplete last batch is used unless it has a single image, which gives a batch norm no variance; with mixup, the
    last of an odd number of images is left out as well.

        trainer = Trainer(module, data, recipe, seed=0)
        for epoch in trainer.train(3): ...
        save_checkpoint(trainer.state(), path)
        # later, in another process, with a module built alike
        trainer = Trainer(module, data, recipe, seed=0)
        trainer.load(load_checkpoint(path))
        for epoch in trainer.train(recipe.epochs): ...  # from epoch 4

    Raises DataError if a batch is larger than the training split or timm cannot augment such images, MachineError if
    memory runs out or a device fails.
    """

    def __init__(
        self, module: nn.Module, data: Data, recipe: Recipe, *, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        if recipe.batch > len(data.train):
            most = len(data.train)
            raise DataError(
                f"{data.name}: batch {recipe.batch} is larger than the training split; allowed: 2 to {most}"
            )
        if isinstance(recipe.augment, Policy) and data.shape[0] not in CHANNELS:
            raise DataError(
                f"{data.name}: images have {data.shape[0]} channels, and timm augments those of 1 or 3 only; allowed "
                f"here are the augmentations {', '.join(PLAIN)}"
            )
        began = time.perf_counter()
        self.module, self.data, self.recipe, self.seed, self.device = module, data, recipe, seed, torch.device(device)
        self.curve: list[Epoch] = []
        self._cut_short = False
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
            self.optimizer = make_optimizer(module, recipe)
            self._schedule = make_schedule(self.optimizer, recipe, self._steps)
            self._ema = ModelEmaV3(module, decay=recipe.ema, use_warmup=True) if recipe.ema is not None else None
        self._mixup = Mixup(recipe.mixup, label_smoothing=recipe.label_smoothing, num_classes=data.classes)
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
        last = self.curve[-1]
        return Fit([*self.curve], last.val_accuracy, last.val_loss, len(self.data.val), self.seconds)

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
        if len(self.curve) == self.recipe.epochs:
            self._settle()

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
            scored = self._settle()
        else:
            scored = self.module if self._ema is None else self._ema.module
        score = score_module(scored, self.data, batch=self.recipe.evaluation_batch, device=self.device)
        if not math.isfinite(score.loss):
            raise TrainingError(f"epoch {epoch}: validation loss is {score.loss}")
        return Epoch(epoch, train_loss, score.loss, score.accuracy, self._lr, time.perf_counter() - began)

    def _settle(self) -> nn.Module:
        """Give the module the weights that are scored, contiguous and in eval mode."""
        if self._ema is not None:
            self.module.load_state_dict(self._ema.module.state_dict())
        return self.module.to(memory_format=torch.contiguous_format).eval()

    def _pass(self, epoch: int) -> float:
        """One pass over the training split; returns the mean loss per image."""
        recipe, device = self.recipe, self.device
        self.module.train()
        order = torch.randperm(len(self.data.train), generator=self._generator)[: self._images]
        losses = torch.zeros(self._steps, device=device)
        seen = torch.zeros(self._steps)
        for step, (images, labels) in enumerate(self._batches(order)):
            if recipe.mixup > 0:
                even = len(images) // 2 * 2
                images, labels = self._mixup(images[:even], labels[:even])
            loss = self._update(images, labels, (epoch - 1) * self._steps + step)
            losses[step], seen[step] = loss, len(images)
            if step % LOOK_EVERY == LOOK_EVERY - 1:
                check_losses(losses, epoch)
        check_losses(losses, epoch)
        return float((losses.cpu() * seen).sum() / seen.sum())

    def _batches(self, order: Tensor) -> Batches:
        """The training images of `order`, augmented."""
        train, kind, size, device = self.data.train, self.recipe.augment, self.recipe.batch, self.device
        if isinstance(kind, Policy):
            yield from Augmented(train, kind).batches(size, device, order, self._generator)
        elif kind == "none":
            yield from train.batches(size, device, order)
        else:
            shifts = Shifts(kind, len(order), self._generator, device)
            for images, labels in train.batches(size, device, order):
                yield shifts(images), labels

    def _update(self, images: Tensor, targets: Tensor, done: int) -> Tensor:
        """One step, with `done` before it; `targets` are labels, or the class shares that mixup gives."""
        smoothing = self.recipe.label_smoothing if targets.ndim == 1 else 0.0
        with self._autocast:
            logits = checked_logits(self.module, images.contiguous(memory_format=self._format), self.data.classes)
            loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        loss.backward(create_graph=getattr(self.optimizer, "is_second_order", False))  # type: ignore[no-untyped-call]
        if self.recipe.clip_grad is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.recipe.clip_grad)
        self._lr = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._schedule.step_update(done + 1)
        if self._ema is not None:
            self._ema.update(self.module, step=done + 1)
        return loss.detach()
