"""Examples of several inputs in memory: for each input its values, and which of them each example has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hadnas.inputs import InputShape, Mask, Tokens
from hadnas.train.data.images import NORMALISED_BYTES, Batches
from hadnas.train.data.normalise import Normalise, Normalisers, histogram, moments_of, moments_of_floats

if TYPE_CHECKING:
    from hashlib import _Hash


@dataclass(frozen=True, eq=False)
class InputColumn:
    """One input. `places` (N,) has the place in `values` (M, ...) of each example, as several may share an image.

    values: uint8 images (M, C, H, W), float64 maps (M, C, H, W) or vectors (M, K), float32 masks (M, 1, H, W) of 0 and
    1 with `mask`, or int64 tokens (M, length) below `vocabulary`.
    """

    name: str
    values: Tensor
    places: Tensor
    vocabulary: int = 0
    mask: bool = False

    @property
    def shape(self) -> InputShape:
        """The shape of one value, or its tokens."""
        if self.mask:
            return Mask(*self.values.shape[2:])
        return Tokens(self.values.shape[1], self.vocabulary) if self.vocabulary else tuple(self.values.shape[1:])

    def normaliser(self, scale: float, masks: Sequence["InputColumn"] = ()) -> Normalise | None:
        """By the distinct values that the examples have, of pixels divided by `scale`; None for tokens and masks.

        Beside the first of `masks` that is of its height and width, by the valid pixels of every example.
        """
        if self.vocabulary or self.mask:
            return None
        mask = next((one for one in masks if one.values.shape[2:] == self.values.shape[2:]), None)
        if mask is None:
            used = self.values[torch.unique(self.places)]
        else:
            valid = mask.values[mask.places][:, 0] > 0
            used = self.values[self.places].movedim(1, -1)[valid]  # (pixels, C)
        if used.dtype == torch.uint8:
            return Normalise(*moments_of(histogram(used), scale), scale)
        return Normalise(*moments_of_floats(used), 1.0)


class HeldInputs:
    """Examples of one or several inputs with their targets; see `Images`."""

    def __init__(self, columns: Sequence[InputColumn], labels: Tensor, names: Sequence[object] | None = None) -> None:
        self.columns, self.labels = tuple(columns), labels
        self.names: Sequence[object] = range(len(labels)) if names is None else names
        self.inputs = tuple((column.name, column.shape) for column in self.columns)

    def content(self, place: int) -> bytes:
        """The bytes of all inputs of an example."""
        return b"".join(column.values[column.places[place]].numpy().tobytes() for column in self.columns)

    def subset(self, index: np.ndarray) -> "HeldInputs":
        """The examples at these places, in this order."""
        chosen = torch.from_numpy(index)
        columns = [replace(column, places=column.places[chosen]) for column in self.columns]
        return HeldInputs(columns, self.labels[chosen], [self.names[place] for place in index.tolist()])

    def update(self, digest: "_Hash") -> np.ndarray:
        """Feed values, places and labels to a hash; returns a hash of each example, equal for equal inputs."""
        hashes = []
        for column in self.columns:
            digest.update(column.values.contiguous().numpy().data)
            digest.update(column.places.contiguous().numpy().data)
            own = np.array([hash(value.tobytes()) for value in column.values.numpy()], np.int64)
            hashes.append(own[column.places.numpy()])
        digest.update(self.labels.contiguous().numpy().data)
        return np.array([hash(row) for row in zip(*(one.tolist() for one in hashes), strict=True)], np.int64)

    def normalisers(self, scale: float) -> Normalisers:
        """The normalisation of each input."""
        masks = [column for column in self.columns if column.mask]
        return tuple(column.normaliser(scale, masks) for column in self.columns)

    def normalised(self, device: torch.device, normalise: Normalisers) -> "HeldInputs":
        """The inputs on the device, normalised unless they are too large."""
        columns = []
        for column, how in zip(self.columns, normalise, strict=True):
            values = column.values.to(device)
            if how is not None and 4 * values.numel() <= NORMALISED_BYTES:
                values = how(values)
            columns.append(replace(column, values=values, places=column.places.to(device)))
        return HeldInputs(columns, self.labels.to(device), self.names)

    def batches(self, size: int, device: torch.device, order: Tensor | None) -> Batches:
        """Batches of at most `size` on the device, in this order; in the stored order if `order` is None."""
        columns = [(column.values.to(device), column.places.to(device)) for column in self.columns]
        labels = self.labels.to(device)
        order = torch.arange(len(labels)) if order is None else order
        for index in torch.split(order.to(device), size):
            yield tuple(values[places[index]] for values, places in columns), labels[index]
