"""A stress: a change of the images, or of the trained network itself, that costs accuracy and no training."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import prune

from hadnas.errors import DataError, SpecError, cut, unknown
from hadnas.measure.copies import copied
from hadnas.train.data.spec import Data
from hadnas.train.score import EVALUATION_BATCH, Score, score_module
from hadnas.train.stress.images import change_of

OF_IMAGES = ("noise", "fgsm", "pgd")
"""The kinds that change images."""

STRESSES = (*OF_IMAGES, "weights", "channels")


@dataclass(frozen=True)
class Stress:
    """A kind of change and its strength; as text, `noise:0.1`.

    noise     Gaussian noise of this standard deviation is added to the pixels
    fgsm      each pixel is changed by this much in the direction that raises the loss (Goodfellow et al., "Explaining
              and harnessing adversarial examples", 2014, arXiv 1412.6572)
    pgd       each pixel is changed by at most this much, in ten steps of a quarter of it in the direction that raises
              the loss, from a random start (Madry et al., "Towards deep learning models resistant to adversarial
              attacks", 2017, arXiv 1706.06083)
    weights   this share of the weights of all convolutions and linear layers, the smallest of all, becomes 0
    channels  this share of the hidden channels of each block, those of the smallest weights, is removed

    Pixels are scaled to 0..1 and remain there, so strengths of the first three are of at most 1; shares are below 1.
    """

    kind: str
    strength: float

    def __str__(self) -> str:
        return f"{self.kind}:{self.strength:g}"

    @property
    def of_images(self) -> bool:
        """Whether it changes the images, not the network."""
        return self.kind in OF_IMAGES


def find_stress(text: str) -> Stress:
    """A stress from its text. Raises UnknownName for another kind, SpecError for a strength out of range."""
    kind, _, number = text.partition(":")
    if kind not in STRESSES:
        raise unknown("kind of stress", kind, STRESSES)
    try:
        strength = float(f"{float(number):g}")  # as its text has it, which is its name in a home
    except ValueError:
        strength = math.nan
    most = 1.0 if kind in OF_IMAGES else math.nextafter(1.0, 0.0)
    if not 0 < strength <= most:
        allowed = "at most 1, as pixels are scaled to 0..1" if kind in OF_IMAGES else "below 1, a share"
        raise SpecError(f"{cut(text)} is not allowed; allowed is {kind}:STRENGTH with a strength above 0 and {allowed}")
    return Stress(kind, strength)


def find_pruning(text: str) -> Stress:
    """A stress that changes a network. Raises as `find_stress`, and SpecError for one that changes images."""
    found = find_stress(text)
    if found.of_images:
        raise SpecError(f"{found} changes images; allowed is weights:SHARE or channels:SHARE")
    return found


def check_stress(stress: Stress, data: Data) -> None:
    """Raise DataError if a stress changes images and the data are not of one image."""
    if stress.of_images and not data.of_one_image:
        names = ", ".join(name for name, _ in data.inputs)
        raise DataError(f"{stress} is for data of one image; the inputs of {data.name} are {names}")


def without_small_weights(module: nn.Module, share: float) -> nn.Module:
    """A copy in which this share of the weights of all convolutions and linear layers, the smallest, is 0."""
    found = copied(module)
    layers = [one for one in found.modules() if isinstance(one, nn.Conv1d | nn.Conv2d | nn.Linear)]
    prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=share)
    for layer in layers:
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    return found


def score_under(
    stress: Stress,
    module: nn.Module,
    data: Data,
    split: Literal["val", "test"] = "val",
    *,
    batch: int = EVALUATION_BATCH,
    device: torch.device | str = "cpu",
) -> Score:
    """The score of a module under a stress of images. Raises DataError as `check_stress`."""
    check_stress(stress, data)
    change = change_of(stress.kind, data, stress.strength, device)
    return score_module(module, data, split, batch=batch, device=device, change=change)
