"""Gated convolution of a map with holes: a gate that reads map and mask weighs each feature."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.masks import MaskedNorm, masked_norm, windows, without_holes
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, odd


@register(
    "masked",
    family="hadamard",
    resize=windows,
    twin=("interact", "mul", "sum"),
    rules=(odd("kernel"), at_least("stride", 1)),
)
class MaskGatedConv(nn.Module):
    """Gated convolution: learns, for each feature and position, how far what is left of a window counts.

    [f; g] = W [m * x; m] + b;  y = act(norm(f)) * sigmoid(g) where n > 0, else 0;  m' = 1 where n > 0, else 0

    W k x k, in_dim + 1 -> 2 C; n is the number of valid pixels in the window. The additive twin (`sum`) adds the gate.
    H and W are those of the output.

    Shapes: x (B, in_dim, H, W), m (B, 1, H, W) -> y (B, C, H', W'), m' (B, 1, H', W'), H' = (H - 1) // stride + 1.
    Degree: 2 if interact == "mul" else 1
    Params: 2*kernel**2*(in_dim + 1)*C + 2*C + weights(norm, C) + weights(act, C)
    MACs: 2*kernel**2*(in_dim + 1)*C*H*W
    Products: (C*H*W if interact == "mul" else 0) + products(act, C*H*W)
    Source: Yu et al., "Free-form image inpainting with gated convolution", 2019, arXiv 1806.03589, equation 2; here
        every layer reads the mask, not the first alone, and features have a norm.
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
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.conv = nn.Conv2d(in_dim + 1, 2 * dim, kernel, stride, kernel // 2, **dd)
        self.any = nn.MaxPool2d(kernel, stride, kernel // 2)
        self.norm = masked_norm(norm, dim, **dd)
        self.act = activation(act, **dd)
        self.sigmoid = activation("sigmoid", **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        after = self.any(mask)
        f, g = self.conv(torch.cat((without_holes(x, mask), mask), dim=1)).chunk(2, dim=1)
        f, gate = self.act(f if self.norm is None else self.norm(f, after)), self.sigmoid(g)
        return without_holes(f * gate if self.multiply else f + gate, after), after
