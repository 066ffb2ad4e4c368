"""Conv2Former's convolutional modulation."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd


@block(family="hadamard", twin=("interact", "mul", "sum"), rules=(odd("kernel"),))
class ConvMod(nn.Module):
    """Convolutional modulation: the output of a large depthwise convolution multiplies a value branch.

    y = P(DW(act(A x)) * V x)

    A, V, P pointwise C -> C; DW depthwise k x k. The factor DW(...) is unbounded. The additive twin (`sum`) adds it.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 3*C**2 + (kernel**2 + 4)*C + weights(act, C)
    MACs: (3*C**2 + kernel**2*C)*H*W
    Products: (C*N if interact == "mul" else 0) + products(act, C*N)
    Source: Hou et al., "Conv2Former: a simple transformer-style ConvNet for visual recognition", 2022,
        arXiv 2211.11943, section 3.2; the norm in front is outside.
    """

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 11,
        act: Act | None = "gelu",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.a = nn.Conv2d(dim, dim, 1, **dd)
        self.act = activation(act, **dd)
        self.dw = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.v = nn.Conv2d(dim, dim, 1, **dd)
        self.proj = nn.Conv2d(dim, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        a, v = self.dw(self.act(self.a(x))), self.v(x)
        return self.proj(a * v if self.multiply else a + v)
