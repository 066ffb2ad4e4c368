"""Maps with holes: what the convolutions share that read a map (B, C, H, W) and its mask (B, 1, H, W) of 0 and 1."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

MaskedNorm = Literal["batchnorm2d"]
"""The norms of a map with holes, by name."""


def windows(size: int, values: Any) -> int:
    """The number of windows along a side: the resolution after a convolution of odd kernel, padded by kernel // 2."""
    return int((size - 1) // values["stride"] + 1)


def without_holes(x: Tensor, mask: Tensor) -> Tensor:
    """The map with 0 in its holes; a product with the mask would leave NaN there."""
    return x.masked_fill(mask == 0, 0.0)


class MaskedBatchNorm2d(nn.Module):
    """Batch norm by the mean and variance of the valid positions of a batch, and in evaluation by the running ones."""

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim, device=device, dtype=dtype)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if not self.training:
            return self.norm(x)
        wide = x if x.dtype == torch.float64 else x.float()
        count = mask.to(wide.dtype).sum().clamp(min=1)
        mean = without_holes(wide, mask).sum((0, 2, 3), keepdim=True) / count
        centred = without_holes(wide - mean, mask)
        var = centred.square().sum((0, 2, 3), keepdim=True) / count
        self._follow(mean.flatten(), var.flatten() * count / (count - 1).clamp(min=1))
        scale, shift = self.norm.weight[:, None, None], self.norm.bias[:, None, None]
        return (centred * torch.rsqrt(var + self.norm.eps) * scale + shift).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics, as torch does, towards those of a batch."""
        batches, momentum = self.norm.num_batches_tracked, self.norm.momentum
        assert batches is not None and momentum is not None
        batches.add_(1)
        for running, own in ((self.norm.running_mean, mean), (self.norm.running_var, var)):
            assert running is not None
            running.lerp_(own.to(running.dtype), momentum)


def masked_norm(norm: MaskedNorm | None, dim: int, *, device: Any = None, dtype: Any = None) -> nn.Module | None:
    """The norm of this name, called with a map and its mask; None for None."""
    return None if norm is None else MaskedBatchNorm2d(dim, device=device, dtype=dtype)
