"""MambaOut's gated convolution: half of the hidden channels gate a partly convolved other half."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, require


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        odd("kernel"),
        require(
            lambda v: 1 <= int(v["conv_ratio"] * v["dim"]) <= int(v["expand"] * v["dim"]),
            "conv_ratio = {conv_ratio} must leave between 1 and expand * dim channels (expand {expand}, dim {dim})",
        ),
    ),
)
class GatedConv(nn.Module):
    """Gated convolution: mixes positions and channels in one gated feed-forward network.

    [g; i; c] = F x;  y = G(act(g) * [i; DW(c)])

    F pointwise C -> 2 e C, G pointwise e C -> C; c has conv_ratio C channels, i the rest of the e C (both rounded
    down); DW depthwise k x k. The additive twin (`sum`) adds in place of the product.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 3*C*(expand*C//1) + 2*(expand*C//1) + (kernel**2 + 1)*(conv_ratio*C//1) + C + weights(act, expand*C//1)
    MACs: (3*C*(expand*C//1) + kernel**2*(conv_ratio*C//1))*H*W
    Products: ((expand*C//1)*N if interact == "mul" else 0) + products(act, (expand*C//1)*N)
    Source: Yu and Wang, "MambaOut: do we really need Mamba for vision?", 2024, arXiv 2405.07992,
        algorithm 1; norm and residual are outside.
    timm: timm.models.mambaout.GatedConvBlock
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: float = 8 / 3,
        kernel: int = 7,
        conv_ratio: float = 1.0,
        act: Act | None = "gelu",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden, convolved = int(expand * dim), int(conv_ratio * dim)
        self.splits = (hidden, hidden - convolved, convolved)
        self.f = nn.Conv2d(dim, 2 * hidden, 1, **dd)
        self.act = activation(act, **dd)
        self.dw = nn.Conv2d(convolved, convolved, kernel, padding=kernel // 2, groups=convolved, **dd)
        self.g = nn.Conv2d(hidden, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        g, i, c = self.f(x).split(self.splits, dim=1)
        c = c.contiguous(
            memory_format=torch.channels_last
        )  # the split is copied anyway; this layout makes its gradient faster
        g, value = self.act(g), torch.cat((i, self.dw(c)), dim=1)
        return self.g(g * value if self.multiply else g + value)
