"""The highway merge: a learned, bounded interpolation between skip and branch."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import activation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import odd


@register("merge", family="hadamard", twin=("interact", "mul", "sum"), rules=(odd("kernel"),))
class Highway(nn.Module):
    """A gate interpolates between skip and branch at every position and channel.

    g = sigmoid(G [a; b] + beta);  y = g * a + (1 - g) * b

    G pointwise 2 C -> C, after a depthwise k x k convolution without bias if kernel > 1. The bias beta starts at
    `carry` in every channel: 2 gives the skip a share of 88 %. The additive twin (`sum`) is g + a + b.

    Shapes: a, b (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 2*C**2 + C + (2*kernel**2*C if kernel > 1 else 0)
    MACs: (2*C**2 + (2*kernel**2*C if kernel > 1 else 0))*H*W
    Products: C*H*W if interact == "mul" else 0
    Source: Srivastava et al., "Highway networks", 2015, arXiv 1505.00387, equation 3 with g = 1 - T; the gate sees the
        branch as well as the skip.
    """

    def __init__(
        self,
        dim: int,
        *,
        carry: float = 2.0,
        kernel: int = 1,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        both = 2 * dim
        self.dw: nn.Module = nn.Identity()
        if kernel > 1:
            self.dw = nn.Conv2d(both, both, kernel, padding=kernel // 2, groups=both, bias=False, **dd)
        self.g = nn.Conv2d(both, dim, 1, **dd)
        self.sigmoid = activation("sigmoid", **dd)
        self.carry = carry
        self.multiply = interact == "mul"
        self.init_weights()

    def init_weights(self) -> None:
        """Set the bias to `carry`; a model calls this after it has initialised its convolutions."""
        assert self.g.bias is not None
        nn.init.constant_(self.g.bias, self.carry)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        gate = self.sigmoid(self.g(self.dw(torch.cat((a, b), dim=1))))
        return b + gate * (a - b) if self.multiply else gate + a + b  # one product instead of two
