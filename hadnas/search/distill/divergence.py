"""How far a changed network's outputs are from its parent's, image by image."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.errors import StudyError, first_line
from hadnas.measure.metrics.error import standard_error
from hadnas.train.data.images import evenly_spaced
from hadnas.train.data.spec import Data
from hadnas.train.score import checked_outputs

SCORED_IMAGES = 1024
"""The most validation images on which an option is scored."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """The logits (N, K) of a network on validation images, at most SCORED_IMAGES evenly spaced, and their classes."""

    logits: Tensor
    labels: Tensor

    @property
    def hits(self) -> Tensor:
        """Whether each image is classified correctly."""
        return self.logits.argmax(1) == self.labels

    @property
    def is_trained(self) -> bool:
        """Whether the accuracy is more than five standard errors above the share of the most frequent class."""
        n, accuracy = len(self.labels), float(self.hits.double().mean())
        return accuracy - 5 * standard_error(accuracy, n) > float(self.labels.bincount().max()) / n


@torch.no_grad()
def outputs(network: nn.Module, data: Data, device: torch.device, batch: int) -> Outputs:
    """Run a network in eval mode on these images."""
    network.to(device).eval()
    places = evenly_spaced(SCORED_IMAGES, len(data.val))
    found = [checked_outputs(network, inputs, data.classes) for inputs, _ in data.val.batches(batch, device, places)]
    return Outputs(torch.cat(found).double().cpu(), data.val.labels[places])


@dataclass(frozen=True, eq=False)
class Divergence:
    """Of one option, image by image (N,).

    kl     Kullback-Leibler divergence of the changed network's classes from the parent's, in nats
    lost   1 if the parent alone is right, -1 if the changed network alone is
    loss   of the imitation; None if nothing was trained
    state  the trained tensors by their names in the changed network
    """

    kl: Tensor
    lost: Tensor
    loss: float | None = None
    state: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def mean(self) -> float:
        """Infinite for a network whose outputs are not finite."""
        found = float(self.kl.mean())
        return found if found == found else float("inf")

    @property
    def error(self) -> float:
        """The standard error of the mean over the images."""
        return error_of_mean(self.kl)

    @property
    def is_costly(self) -> bool:
        """Whether more than five standard errors of accuracy are lost."""
        return float(self.lost.mean()) > 5 * error_of_mean(self.lost)

    def save(self, path: Path) -> None:
        """Write a file, whole or not at all. Raises StudyError if it cannot be written."""
        half = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            tensors = {f"state.{name}": tensor.cpu().contiguous().clone() for name, tensor in self.state.items()}
            save_file({"kl": self.kl, "lost": self.lost, **tensors}, half, {"loss": repr(self.loss)})
            half.replace(path)
        except (OSError, SafetensorError) as error:
            half.unlink(missing_ok=True)
            raise StudyError(f"{path} cannot be written: {error}") from error


def diverged(parent: Outputs, changed: Outputs) -> tuple[Tensor, Tensor]:
    """`kl` and `lost` of a `Divergence`."""
    ours, theirs = (F.log_softmax(found.logits, 1) for found in (parent, changed))
    kl = F.kl_div(theirs, ours, log_target=True, reduction="none").sum(1).clamp_min(0)  # rounding gives -1e-17
    return kl, parent.hits.double() - changed.hits.double()


def load_divergence(path: Path) -> Divergence:
    """A divergence from its file. Raises StudyError if it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata()["loss"]
            names = [name for name in file.keys() if name.startswith("state.")]  # noqa: SIM118 - no dict
            state = {name.removeprefix("state."): file.get_tensor(name) for name in names}
            loss = None if told == "None" else float(told)
            return Divergence(file.get_tensor("kl"), file.get_tensor("lost"), loss, state)
    except Exception as error:  # safetensors and the system raise many types
        raise StudyError(f"the score in {path} cannot be read: {first_line(error)}; remove the file") from error


def error_of_mean(values: Tensor) -> float:
    """The standard error of the mean of values (N,) over the images."""
    return float(values.std() / len(values) ** 0.5)
