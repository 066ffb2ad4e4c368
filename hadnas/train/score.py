"""Scores a module on a split, in eval mode and float32."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadnas.errors import TrainingError
from hadnas.train.data.images import Split
from hadnas.train.data.spec import Data
from hadnas.train.recipe import Recipe

EVALUATION_BATCH = Recipe().evaluation_batch
"""Images that are scored at once, without a recipe."""


@dataclass(frozen=True)
class Score:
    """Accuracy (0..1) and mean cross-entropy over `n` images; `standard_error` is that of the accuracy."""

    accuracy: float
    loss: float
    n: int

    @property
    def standard_error(self) -> float:
        return standard_error(self.accuracy, self.n)


def standard_error(accuracy: float, n: int) -> float:
    """The standard error of an accuracy on `n` images: the standard deviation of its Jeffreys posterior.

    With k hits the posterior is Beta(k + 1/2, n - k + 1/2). Its deviation is close to the binomial standard error,
    which would be 0 for 0 or n hits (Brown, Cai and DasGupta, Statistical Science 16, 2001).
    """
    right = (accuracy * n + 0.5) / (n + 1)
    return math.sqrt(right * (1 - right) / (n + 2))


def score_module(
    module: nn.Module,
    data: Data,
    split: Literal["val", "test"] = "val",
    *,
    batch: int = EVALUATION_BATCH,
    device: torch.device | str = "cpu",
) -> Score:
    """Score a module in eval mode and float32 on the validation split, or open the test split; its mode is restored.

    `batch` images are scored at once.
    """
    right, loss = hits(module, data, split, batch=batch, device=device)
    return Score(int(right.sum()) / len(right), loss, len(right))


@torch.no_grad()
def hits(
    module: nn.Module,
    data: Data,
    split: Literal["val", "test"] = "val",
    *,
    batch: int = EVALUATION_BATCH,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, float]:
    """Whether each image of a split is classified correctly, bool (N,) on the CPU, and the mean loss.

    See `score_module`.
    """
    device = torch.device(device)
    part: Split = data.val if split == "val" else data.open_test()
    training = module.training
    module.to(device).eval()
    loss = torch.zeros((), dtype=torch.float64, device=device)
    right = []
    for images, labels in part.batches(batch, device):
        logits = checked_logits(module, images, data.classes)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        right.append(logits.argmax(1) == labels)
    module.train(training)
    return torch.cat(right).cpu(), float(loss) / len(part)


def checked_logits(module: nn.Module, images: Tensor, classes: int) -> Tensor:
    """The logits of `images`. Raises TrainingError unless there is one per class and image."""
    logits = module(images)
    if not isinstance(logits, Tensor) or logits.shape != (len(images), classes):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise TrainingError(f"the module returns {shape} for {len(images)} images; allowed is {(len(images), classes)}")
    return logits


def check_losses(losses: Tensor, epoch: int) -> None:
    """Raises TrainingError unless the losses of the steps so far are finite."""
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise TrainingError(
            f"training diverged: epoch {epoch}, step {step + 1} of {len(losses)}: loss is {float(losses[step])}"
        )
