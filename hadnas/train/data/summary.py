"""What a data set is before any training: its classes and splits, and what its validation split can tell apart."""

from dataclasses import dataclass

import torch

from hadnas.train.data.images import HeldImages
from hadnas.train.data.spec import Data, DataSpec

IMBALANCED = 3
"""A largest class of so many times the training images of the smallest makes accuracy misleading."""


@dataclass(frozen=True)
class DataSummary:
    """A data set in plain values.

    counts: each class with its training and its validation images, in the order of the logits
    dummy: the class with the most training images, and the validation accuracy of always predicting it
    """

    source: str
    shape: tuple[int, int, int]
    in_memory: bool
    sizes: dict[str, int]
    split: str
    counts: tuple[tuple[str, int, int], ...]
    dummy: tuple[str, float]
    notes: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Training images of the largest class divided by those of the smallest."""
        train = [count for _, count, _ in self.counts]
        return max(train) / min(train)

    def noise(self, accuracy: float) -> float:
        """The largest difference that chance alone explains, of two networks near this accuracy.

        1.96 * sqrt(2 * p * (1 - p) / n): the 95 % interval of the difference of two networks with independent errors
        on n validation images. Networks that err on the same images differ by less.
        """
        return float(1.96 * (2 * accuracy * (1 - accuracy) / self.sizes["val"]) ** 0.5)


def summary(spec: DataSpec, data: Data) -> DataSummary:
    """The summary of a loaded data set."""
    train, val = (torch.bincount(split.labels, minlength=data.classes).tolist() for split in (data.train, data.val))
    most = max(range(data.classes), key=train.__getitem__)
    return DataSummary(
        source=spec.source,
        shape=data.shape,
        in_memory=isinstance(data.train.images, HeldImages),
        sizes=data.sizes,
        split=data.split,
        counts=tuple(zip(data.class_names, train, val, strict=True)),
        dummy=(data.class_names[most], val[most] / len(data.val)),
        notes=data.notes,
    )
