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


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm by the mean and variance of the valid positions of a batch, and in evaluation by the running ones."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]  # the norm of another kind of map
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        valid = mask.to(wide.dtype)
        count = valid.sum().clamp(min=1)
        mean = without_holes(wide, mask).sum((0, 2, 3), keepdim=True) / count
        centred = without_holes(wide - mean, mask)
        var = centred.square().sum((0, 2, 3), keepdim=True) / count
        with torch.no_grad():
            unbiased = var.flatten() * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean.flatten().to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        y = centred * torch.rsqrt(var + self.eps) * self.weight[:, None, None] + self.bias[:, None, None]
        return y.to(x.dtype)


def masked_norm(norm: MaskedNorm | None, dim: int, *, device: Any = None, dtype: Any = None) -> nn.Module | None:
    """The norm of this name, called with a map and its mask; None for None."""
    return None if norm is None else MaskedBatchNorm2d(dim, device=device, dtype=dtype)
