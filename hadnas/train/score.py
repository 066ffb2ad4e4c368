"""Scores a module on a split, in eval mode and float32."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hadnas.errors import DataError, StudyError, TrainingError, first_line
from hadnas.inputs import Inputs
from hadnas.measure.front import Array
from hadnas.measure.metrics.error import metric_error
from hadnas.measure.metrics.metric import DEFAULT_METRIC, find_metric, measured, missing, predictions
from hadnas.targets import ONE_OF, TargetKind
from hadnas.train.data.images import Split
from hadnas.train.data.spec import Data
from hadnas.train.loss import Loss
from hadnas.train.recipe import Recipe

EVALUATION_BATCH = Recipe().evaluation_batch
"""Images that are scored at once, without a recipe."""

Change = Callable[[nn.Module, Inputs, Tensor], Inputs]
"""A module, normalised inputs and targets of a batch -> the inputs that the module reads in their place."""


@dataclass(frozen=True, eq=False)
class Score:
    """A network's outputs (N, K) on the images of a split, their targets, and the mean loss; all metrics follow.

    Outputs are logits, or values in the data's own units; both tensors are on the CPU.
    """

    target: TargetKind
    outputs: Tensor = field(repr=False)
    targets: Tensor = field(repr=False)
    loss: float

    @property
    def n(self) -> int:
        """The number of images."""
        return len(self.outputs)

    @cached_property
    def predicted(self) -> Array:
        """(N, K), float64: probabilities of classes or labels, or values."""
        return predictions(self.target, self.outputs.numpy())

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every metric of the target that these images define, by name."""
        return measured(self.target, self.predicted, self.targets.numpy())

    @property
    def accuracy(self) -> float:
        """The share of images classified correctly."""
        return self.metrics["accuracy"]

    @property
    def hits(self) -> Tensor:
        """Whether each image is classified correctly, or has all labels right: bool (N,); for values (0,)."""
        if self.target == "values":
            return torch.zeros(0, dtype=torch.bool)
        right = self.outputs.argmax(1) if self.target == "classes" else (self.outputs > 0).float()
        return right == self.targets if self.target == "classes" else (right == self.targets).all(1)

    def standard_error(self, metric: str = "") -> float:
        """The standard error of a metric, by default that of the target, over the images."""
        name = metric or DEFAULT_METRIC[self.target]
        found = find_metric(name, self.target, self.outputs.shape[1])
        return metric_error(found, self.target, self.predicted, self.targets.numpy())

    def save(self, path: Path) -> None:
        """Write the score to a .safetensors file, whole or not at all. Raises StudyError if it cannot be written."""
        half = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            half.unlink(missing_ok=True)  # a link there would be followed
            tensors = {"outputs": self.outputs.contiguous(), "targets": self.targets.contiguous()}
            save_file(tensors, half, {"target": self.target, "loss": repr(self.loss)})
            half.replace(path)
        except (OSError, SafetensorError) as error:
            half.unlink(missing_ok=True)
            raise StudyError(f"{path} cannot be written: {error}") from error


def load_score(path: Path) -> Score:
    """A score from its file. Raises StudyError if there is none or it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            kind = next(kind for kind in get_args(TargetKind) if kind == about["target"])
            return Score(kind, file.get_tensor("outputs"), file.get_tensor("targets"), float(about["loss"]))
    except Exception as error:  # safetensors and the system raise many types
        raise StudyError(f"the predictions in {path} cannot be read: {first_line(error)}") from error


@torch.no_grad()
def score_module(
    module: nn.Module,
    data: Data,
    split: Literal["val", "test"] = "val",
    *,
    batch: int = EVALUATION_BATCH,
    device: torch.device | str = "cpu",
    change: Change | None = None,
) -> Score:
    """Score a module in eval mode and float32 on the validation split, or open the test split; its mode is restored.

    `batch` images are scored at once, changed by `change`. A module of values gives them in the data's own units.
    """
    device = torch.device(device)
    part: Split = data.val if split == "val" else data.open_test()
    training = module.training
    module.to(device).eval()
    plain = Loss(data, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    found = []
    for inputs, targets in part.batches(batch, device):
        seen = inputs if change is None else change(module, inputs, targets)
        outputs = checked_outputs(module, seen, data.classes)
        loss += plain.total(outputs, targets)
        found.append(outputs)
    module.train(training)
    return Score(data.target, torch.cat(found).float().cpu(), part.labels, float(loss) / len(part))


def check_defined(metric: str, data: Data, split: Literal["val", "test"] = "val") -> None:
    """Raise SpecError if a metric does not fit the target, DataError if the images of a split do not define it."""
    found = find_metric(metric, data.target, data.classes)
    part = data.val if split == "val" else data.open_test()
    place = missing(data.target, data.classes, part.labels.numpy())
    if found.whole and place is not None:
        lacking = "has no image" if data.target == "classes" else "is the same for all images"
        raise DataError(
            f"{data.name}: {ONE_OF[data.target]} {data.class_names[place]!r} {lacking} in the {split} split, where "
            f"{metric} is undefined; name another metric, or split the data by another fraction or seed"
        )


def checked_outputs(module: nn.Module, inputs: Inputs, count: int) -> Tensor:
    """The outputs of a batch. Raises TrainingError unless there are `count` for each image."""
    outputs, n = module(*inputs), len(inputs[0])
    if not isinstance(outputs, Tensor) or outputs.shape != (n, count):
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise TrainingError(f"the module returns {shape} for {n} images; allowed is {(n, count)}")
    return outputs


def check_losses(losses: Tensor, epoch: int) -> None:
    """Raises TrainingError unless the losses of the steps so far are finite."""
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise TrainingError(
            f"training diverged: epoch {epoch}, step {step + 1} of {len(losses)}: loss is {float(losses[step])}"
        )
