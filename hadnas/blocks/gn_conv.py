"""HorNet's recursive gated convolution."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, require, within


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        within("order", 2, 5),
        odd("kernel"),
        require(
            lambda v: v["dim"] % 2 ** (v["order"] - 1) == 0,
            "order = {order} halves the width order - 1 times: dim = {dim} must be divisible by 2**(order - 1)",
        ),
    ),
)
class GnConv(nn.Module):
    """Recursive gated convolution: `order` products in a row, each of double width.

    [p; q_0; ...; q_n-1] = W_in x;  q = scale * DW([q_0; ...; q_n-1])
    p = p * q_0;  p = (G_i p) * q_i for i = 1 .. n-1;  y = W_out p

    n = order; q_i has C / 2**(n-1-i) channels, so the last has C; DW is one depthwise k x k convolution over all of
    them; G_i is pointwise from the width of q_i-1 to that of q_i. The additive twin (`sum`) has sums for the products.

    Shapes: (B, C, H, W) -> (B, C, H, W), C divisible by 2**(order-1).
    Degree: order + 1 if interact == "mul" else 1
    Params: 3*C**2 + 2*C**2*(4**(order-1) - 1)//(3*4**(order-1)) + (kernel**2 + 1)*(2*C - C//2**(order-1))
        + 5*C - 2*(C//2**(order-1))
    MACs: (3*C**2 + 2*C**2*(4**(order-1) - 1)//(3*4**(order-1)) + kernel**2*(2*C - C//2**(order-1)))*H*W
    Products: (2*C - C//2**(order-1))*H*W if interact == "mul" else 0
    Source: Rao et al., "HorNet: efficient high-order spatial interactions with recursive gated convolutions", 2022,
        arXiv 2207.14284, section 3.1, with scale 1/3; the global-filter variant is left out.
    """

    def __init__(
        self,
        dim: int,
        *,
        order: int = 3,
        kernel: int = 7,
        scale: float = 1 / 3,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.dims = [dim // 2 ** (order - 1 - i) for i in range(order)]
        total = sum(self.dims)
        self.proj_in = nn.Conv2d(dim, 2 * dim, 1, **dd)
        self.dw = nn.Conv2d(total, total, kernel, padding=kernel // 2, groups=total, **dd)
        pairs = zip(self.dims[:-1], self.dims[1:], strict=True)
        self.g = nn.ModuleList(nn.Conv2d(narrow, wide, 1, **dd) for narrow, wide in pairs)
        self.proj_out = nn.Conv2d(dim, dim, 1, **dd)
        self.scale = scale
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        p, q = self.proj_in(x).split((self.dims[0], sum(self.dims)), dim=1)
        factors = (self.dw(q) * self.scale).split(self.dims, dim=1)
        p = p * factors[0] if self.multiply else p + factors[0]
        for index, g in enumerate(self.g):
            p = g(p) * factors[index + 1] if self.multiply else g(p) + factors[index + 1]
        return self.proj_out(p)
