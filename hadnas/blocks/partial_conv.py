"""Partial convolution: a convolution of the valid pixels alone, each window re-weighted by their share."""

from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.masks import MaskedNorm, masked_norm, windows, without_holes
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, odd


@register("masked", family="hadamard", resize=windows, rules=(odd("kernel"), at_least("stride", 1)))
class PartialConv(nn.Module):
    """Partial convolution: the convolution of a map with holes, as if the valid pixels filled every window.

    y = act(norm(W (m * x) * k^2 / n + b)) where n > 0, else 0;  m' = 1 where n > 0, else 0

    W k x k, in_dim -> C; n is the number of valid pixels in the window, the sum of the mask m, in which the zeros
    around the map are holes. So with all pixels valid it is a convolution, but at the border, where the windows are
    re-weighted, too. norm takes its statistics from the positions where n > 0. m * x is a choice, not a product: what
    is in a hole has no effect, even if it is not a number. H and W are those of the output.

    Shapes: x (B, in_dim, H, W), m (B, 1, H, W) -> y (B, C, H', W'), m' (B, 1, H', W'), H' = (H - 1) // stride + 1.
    Degree: 1
    Params: kernel**2*in_dim*C + C + weights(norm, C) + weights(act, C)
    MACs: kernel**2*in_dim*C*H*W
    Products: C*H*W + products(act, C*H*W)
    Source: Liu et al., "Image inpainting for irregular holes using partial convolutions", 2018, arXiv 1804.07723,
        equations 1 and 2; the border: Liu et al., "Partial convolution based padding", 2018, arXiv 1811.11718.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        norm: MaskedNorm | None = "batchnorm2d",
        act: Act | None = "relu",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.conv = nn.Conv2d(in_dim, dim, kernel, stride, kernel // 2, bias=False, **dd)
        self.bias = nn.Parameter(torch.zeros(dim, **dd))
        self.share = nn.AvgPool2d(kernel, stride, kernel // 2)  # of valid pixels in a window: n / k^2
        self.norm = masked_norm(norm, dim, **dd)
        self.act = activation(act, **dd)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        share = self.share(mask)
        after = (share > 0).to(mask.dtype)
        weight = 1 / torch.where(share > 0, share, 1.0)
        y = self.conv(without_holes(x, mask)) * weight + self.bias[:, None, None]
        y = y if self.norm is None else self.norm(y, after)
        return without_holes(self.act(y), after), after
