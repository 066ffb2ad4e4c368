"""What a data set is before any training: its targets and splits, and what its validation split can tell apart."""

from dataclasses import dataclass

import numpy as np
import torch

from hadnas.inputs import InputShape
from hadnas.measure.metrics.metric import METRICS
from hadnas.targets import TargetKind
from hadnas.train.data.images import StreamedImages
from hadnas.train.data.spec import Data, DataSpec

IMBALANCED = 3
"""A largest class of so many times the training images of the smallest makes accuracy misleading."""


@dataclass(frozen=True)
class Dummy:
    """A predictor that does not look at the image: always the shares, or means, of the training split.

    text: what it predicts, in words
    value: its metric on the validation split
    """

    text: str
    metric: str
    value: float


@dataclass(frozen=True)
class DataSummary:
    """A data set in plain values.

    counts: the training images of each class or label, in the order of the outputs; () for values
    values: mean and standard deviation of each value in the training split; () for classes and labels
    """

    source: str
    inputs: tuple[tuple[str, InputShape], ...]
    in_memory: bool
    sizes: dict[str, int]
    split: str
    target: TargetKind
    names: tuple[str, ...]
    counts: tuple[int, ...]
    values: tuple[tuple[float, float], ...]
    dummy: Dummy
    notes: tuple[str, ...]

    @property
    def is_imbalanced(self) -> bool:
        """Whether accuracy misleads, as a few classes have most of the images."""
        return self.target == "classes" and max(self.counts) >= IMBALANCED * min(self.counts)

    def noise(self, accuracy: float) -> float:
        """The largest difference that chance alone explains, of two networks near this accuracy.

        1.96 * sqrt(2 * p * (1 - p) / n): the 95 % interval of the difference of two networks with independent errors
        on n validation images. Networks that err on the same images differ by less.
        """
        return float(1.96 * (2 * accuracy * (1 - accuracy) / self.sizes["val"]) ** 0.5)


def summary(spec: DataSpec, data: Data, metric: str) -> DataSummary:
    """The summary of a loaded data set, with the dummy's `metric`."""
    labels = data.train.labels
    counts = torch.bincount(labels, minlength=data.classes) if data.target == "classes" else (labels > 0).sum(0)
    return DataSummary(
        source=spec.source,
        inputs=data.inputs,
        in_memory=not isinstance(data.train.images, StreamedImages),
        sizes=data.sizes,
        split=data.split,
        target=data.target,
        names=data.class_names,
        counts=() if data.target == "values" else tuple(counts.tolist()),
        values=tuple(zip(data.target_mean, data.target_std, strict=True)),
        dummy=dummy(data, metric),
        notes=data.notes,
    )


def dummy(data: Data, metric: str) -> Dummy:
    """The predictor of the training split's shares or means, judged on the validation split."""
    if data.target == "values":
        constant, text = np.array(data.target_mean), "always the mean of the training images"
    elif data.target == "labels":
        constant, text = data.train.labels.double().mean(0).numpy(), "always the share of each label"
    else:
        constant = torch.bincount(data.train.labels, minlength=data.classes).double().numpy() / len(data.train)
        text = f"always {data.class_names[int(constant.argmax())]!r}, the most frequent class"
    predicted = np.tile(constant, (len(data.val), 1))
    return Dummy(text, metric, METRICS[metric].of(predicted, data.val.labels.numpy()))
