"""Restormer's feed-forward network: both halves of the hidden channels are convolved, then one gates the other."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, some_channels


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        odd("kernel"),
        some_channels("expand"),
    ),
)
class Gdfn(nn.Module):
    """Gated feed-forward network with a depthwise convolution between expansion and gate.

    [g; a] = DW(F x);  y = G(act(g) * a)

    F pointwise C -> 2 e C, DW depthwise k x k over 2 e C, G pointwise e C -> C, e C rounded down, all without bias. The
    additive twin (`sum`) adds act(g) and a.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: (3*C + 2*kernel**2)*(expand*C//1) + weights(act, expand*C//1)
    MACs: (3*C + 2*kernel**2)*(expand*C//1)*H*W
    Products: ((expand*C//1)*N if interact == "mul" else 0) + products(act, (expand*C//1)*N)
    Source: Zamir et al., "Restormer: efficient transformer for high-resolution image restoration", 2021,
        arXiv 2111.09881, equation 2; expand 2.66 as published; norm and residual are outside.
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: float = 2.66,
        kernel: int = 3,
        act: Act | None = "gelu",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.f = nn.Conv2d(dim, 2 * hidden, 1, bias=False, **dd)
        self.dw = nn.Conv2d(2 * hidden, 2 * hidden, kernel, padding=kernel // 2, groups=2 * hidden, bias=False, **dd)
        self.act = activation(act, **dd)
        self.g = nn.Conv2d(hidden, dim, 1, bias=False, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        g, a = self.dw(self.f(x)).chunk(2, dim=1)
        g = self.act(g)
        return self.g(g * a if self.multiply else g + a)
