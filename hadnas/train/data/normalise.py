"""The normalisation of an input by the mean and standard deviation of the training split."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hadnas.inputs import Moments


@dataclass(frozen=True)
class Normalise:
    """uint8 pixels or floats -> float32 `(values / scale - mean) / std`.

    Mean and standard deviation are those of each channel of (B, C, H, W), or of each number of (B, K).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    def __call__(self, values: Tensor) -> Tensor:
        shape = (-1, *[1] * (values.ndim - 2))
        mean, std = (torch.tensor(v, dtype=torch.float32, device=values.device) for v in (self.mean, self.std))
        return (values.to(torch.float32) / self.scale - mean.view(shape)) / std.view(shape)


Normalisers = tuple[Normalise | None, ...]
"""One for each input; None for tokens and masks."""


def histogram(pixels: Tensor) -> Tensor:
    """The number of each of the 256 values in each channel of uint8 images or pixels (N, C, ...): (C, 256), exact."""
    channels = pixels.transpose(0, 1).flatten(1)
    return torch.stack([torch.bincount(channel, minlength=256) for channel in channels]).to(torch.float64)


def moments_of(counts: Tensor, scale: float) -> Moments:
    """Mean and standard deviation from a histogram; 1 for a constant channel, which is thus normalised to 0."""
    values = torch.arange(256, dtype=torch.float64) / scale
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ values
    std = (share * (values - mean[:, None]) ** 2).sum(1).sqrt()
    std[(counts > 0).sum(1) == 1] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def moments_of_floats(values: Tensor) -> Moments:
    """Mean and standard deviation of each channel of maps (N, C, H, W), or of each number of vectors (N, K).

    1 for a constant one, which is thus normalised to 0.
    """
    rows = values.double().transpose(0, 1).flatten(1)
    std = rows.std(1, correction=0)
    std[rows.min(1).values == rows.max(1).values] = 1.0
    return tuple(rows.mean(1).tolist()), tuple(std.tolist())
