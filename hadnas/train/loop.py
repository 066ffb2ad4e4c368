"""Train a module. Same code for CPU and CUDA, for held and for streamed images.

Seeds: `fit` seeds shuffling, augmentation, mixup and the module's own draws (dropout, drop path) and puts the global
generators of torch and numpy back as it found them. On a CPU the same seed, module and number of threads give the same
curve and weights to the last bit; a CUDA device may need `torch.use_deterministic_algorithms(True)` for that.
"""

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.optim import create_optimizer_v2, get_optimizer_class, param_groups_weight_decay
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from hadnas.errors import DataError, MachineError, TrainingError
from hadnas.train.augment import Shifts
from hadnas.train.data.images import Batches
from hadnas.train.data.spec import Data
from hadnas.train.policy import CHANNELS, Augmented
from hadnas.train.recipe import PLAIN, Policy, Recipe
from hadnas.train.score import Score, checked_logits, evaluate
from hadnas.train.seeds import seeded

# Steps between two looks at the losses: each look waits for the device.
LOOK_EVERY = 50

_SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine": {"sched": "cosine"},
    "linear": {"sched": "poly", "decay_rate": 1.0},
    "constant": {"sched": "multistep", "decay_milestones": ()},
}


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
    """What training gave: one Epoch per epoch, and the score after the last one, never the best."""

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
    """Train `module` (B, C, H, W) -> (B, classes) in place and score it on the validation split after every epoch.

    The module moves to `device` and afterwards holds the weights that were scored (the averaged ones when the recipe
    has `ema`), in eval mode, contiguous. Its initial weights are the caller's. An incomplete last batch is trained,
    but not one of a single image (no variance for a batch norm): the image is left out of that epoch, as is, with
    mixup, the last of an odd number.
    What `on_epoch` raises ends the training and reaches the caller untouched.

    Raises DataError when a batch is larger than the training split or timm cannot augment such images, TrainingError
    when a loss is not finite or the module's output has the wrong shape, MachineError when memory runs out or a device
    or a process that decodes images fails.
    """
    if recipe.batch > len(data.train):
        raise DataError(
            f"{data.name}: batch {recipe.batch} is larger than the training split of {len(data.train)} images"
        )
    if isinstance(recipe.augment, Policy) and data.shape[0] not in CHANNELS:
        raise DataError(
            f"{data.name}: images have {data.shape[0]} channels, and timm augments those of 1 or 3 only; allowed here "
            f"are the augmentations {', '.join(PLAIN)}"
        )
    device = torch.device(device)
    start = time.perf_counter()
    curve: list[Epoch] = []
    score: Score | None = None
    try:
        with seeded(seed, device):
            with _machine():
                trainer = _Trainer(module, data, recipe, seed, device)
            for epoch in range(1, recipe.epochs + 1):
                began = time.perf_counter()
                with _machine():
                    train_loss = trainer.train(epoch)
                    scored = trainer.settle() if epoch == recipe.epochs else trainer.averaged
                    score = evaluate(scored, data, batch=recipe.evaluation_batch, device=device)
                if not math.isfinite(score.loss):
                    raise TrainingError(f"epoch {epoch}: validation loss is {score.loss}")
                seconds = time.perf_counter() - began
                curve.append(Epoch(epoch, train_loss, score.loss, score.accuracy, trainer.lr, seconds))
                if on_epoch is not None:
                    on_epoch(curve[-1])
    finally:
        module.to(memory_format=torch.contiguous_format).eval()
    assert score is not None
    return Fit(curve, score.accuracy, score.loss, score.n, time.perf_counter() - start)


def training_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """What activations are computed in: bfloat16 under autocast, else float32."""
    supported = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    bf16 = recipe.amp == "bf16" or (recipe.amp == "auto" and supported)
    return torch.bfloat16 if bf16 else torch.float32


class _Trainer:
    """A module in training: optimiser, schedule, average, generators."""

    def __init__(self, module: nn.Module, data: Data, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.module, self.data, self.recipe, self.device = module, data, recipe, device
        bf16 = training_dtype(recipe, device) == torch.bfloat16
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=bf16)
        channels_last = bf16 or device.type == "cpu" if recipe.channels_last == "auto" else recipe.channels_last
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        module.to(device).to(memory_format=self.format)
        self.generator = torch.Generator().manual_seed(seed)
        self.images = len(data.train) - (len(data.train) % recipe.batch == 1)
        self.steps = math.ceil(self.images / recipe.batch)
        self.optimizer = create_optimizer_v2(
            param_groups_weight_decay(module, recipe.weight_decay, no_weight_decay_list=_undecayed(module)),
            opt=recipe.optimizer,
            lr=recipe.lr,
            **_fused(recipe.optimizer),
        )
        scheduler, _ = create_scheduler_v2(
            self.optimizer,
            num_epochs=recipe.epochs,
            warmup_epochs=min(recipe.warmup_epochs, recipe.epochs - 1),
            warmup_lr=recipe.lr / 100,
            step_on_epochs=False,
            updates_per_epoch=self.steps,
            **_SCHEDULES[recipe.schedule],
        )
        assert isinstance(scheduler, Scheduler)
        self.scheduler = scheduler
        self.scheduler.step_update(0)
        self.ema = ModelEmaV3(module, decay=recipe.ema, use_warmup=True) if recipe.ema is not None else None
        self.mixup = Mixup(recipe.mixup, label_smoothing=recipe.label_smoothing, num_classes=data.classes)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.lr = recipe.lr

    @property
    def averaged(self) -> nn.Module:
        """What is scored: the averaged module, or the module itself."""
        return self.module if self.ema is None else self.ema.module

    def settle(self) -> nn.Module:
        """Give the module the weights that are scored, in the memory format it is handed back in."""
        if self.ema is not None:
            self.module.load_state_dict(self.ema.module.state_dict())
        return self.module.to(memory_format=torch.contiguous_format)

    def train(self, epoch: int) -> float:
        """One pass over the training split; returns the mean loss per image."""
        recipe, device = self.recipe, self.device
        self.module.train()
        order = torch.randperm(len(self.data.train), generator=self.generator)[: self.images]
        losses = torch.zeros(self.steps, device=device)
        seen = torch.zeros(self.steps)
        for step, (images, labels) in enumerate(self.batches(order)):
            if recipe.mixup > 0:
                even = len(images) // 2 * 2
                images, labels = self.mixup(images[:even], labels[:even])
            loss = self.update(images, labels, (epoch - 1) * self.steps + step)
            losses[step], seen[step] = loss, len(images)
            if step % LOOK_EVERY == LOOK_EVERY - 1:
                _check_finite(losses, epoch)
        _check_finite(losses, epoch)
        return float((losses.cpu() * seen).sum() / seen.sum())

    def batches(self, order: Tensor) -> Batches:
        """The training images of `order`, augmented."""
        train, kind, size, device = self.data.train, self.recipe.augment, self.recipe.batch, self.device
        if isinstance(kind, Policy):
            yield from Augmented(train, kind).batches(size, device, order, self.generator)
        elif kind == "none":
            yield from train.batches(size, device, order)
        else:
            shifts = Shifts(kind, len(order), self.generator, device)
            for images, labels in train.batches(size, device, order):
                yield shifts(images), labels

    def update(self, images: Tensor, targets: Tensor, done: int) -> Tensor:
        """One step, with `done` before it; `targets` are labels, or the class shares that mixup gives."""
        smoothing = self.recipe.label_smoothing if targets.ndim == 1 else 0.0
        with self.autocast:
            logits = checked_logits(self.module, images.contiguous(memory_format=self.format), self.data.classes)
            loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        loss.backward(create_graph=getattr(self.optimizer, "is_second_order", False))  # type: ignore[no-untyped-call]
        if self.recipe.clip_grad is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_grad)
        self.lr = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step_update(done + 1)
        if self.ema is not None:
            self.ema.update(self.module, step=done + 1)
        return loss.detach()


def _fused(optimizer: str) -> dict[str, bool]:
    """Update all parameters in one kernel where torch has it: of small networks, an update is otherwise a fifth."""
    chosen = get_optimizer_class(optimizer, bind_defaults=False)
    return {"fused": True} if "fused" in inspect.signature(chosen).parameters else {}


def _undecayed(module: nn.Module) -> set[str]:
    """Parameters spared from weight decay beside one-dimensional ones: single numbers and what the module names."""
    spared = {name for name, parameter in module.named_parameters() if parameter.numel() == 1}
    named: Callable[[], set[str]] = getattr(module, "no_weight_decay", set)
    return spared | set(named())


def _check_finite(losses: Tensor, epoch: int) -> None:
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise TrainingError(
            f"training diverged: epoch {epoch}, step {step + 1} of {len(losses)}: loss is {float(losses[step])}"
        )


_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
_BROKEN = ("CUDA error", "DataLoader worker", "Too many open files")


@contextmanager
def _machine() -> Iterator[None]:
    """Turn the several ways in which torch says that the machine failed into a MachineError."""
    try:
        yield
    except OSError as error:  # no memory or files for the processes that read images
        raise MachineError(f"{type(error).__name__}: {error}") from error
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in said for words in _OUT_OF_MEMORY):
            raise MachineError(f"out of memory: {said}") from error
        if any(words in said for words in _BROKEN):
            raise MachineError(said.partition("\n")[0]) from error
        raise
