"""A polynomial of the features, by nested coupled CP decomposition (NCP)."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, some_channels, within


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        within("degree", 2, 4),
        odd("kernel"),
        some_channels("expand"),
    ),
)
class Ncp(nn.Module):
    """Polynomial of degree D in the input, one degree per nested layer.

    x_1 = A_1 h;  x_n = (A_n h) * (S_n x_n-1 + b_n) for n = 2 .. D;  y = C x_D

    D = degree; h = DW(z), depthwise k x k, or z if kernel = 1; A_n pointwise C -> e C without bias, S_n pointwise
    e C -> e C with bias b_n, C pointwise e C -> C, e C rounded down. The biases b_n start at 1, so that every degree is
    present at the start. The additive twin (`sum`) has sums in place of the products.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: degree if interact == "mul" else 1
    Params: (degree + 1)*C*(expand*C//1) + (degree - 1)*((expand*C//1)**2 + expand*C//1) + C
        + (kernel**2*C if kernel > 1 else 0)
    MACs: ((degree + 1)*C*(expand*C//1) + (degree - 1)*(expand*C//1)**2 + (kernel**2*C if kernel > 1 else 0))*H*W
    Products: (degree - 1)*(expand*C//1)*H*W if interact == "mul" else 0
    Source: Chrysos et al., "Deep polynomial neural networks", 2020, arXiv 2006.13026, the NCP model; B_1 b_1,
        a constant, is part of A_1 here, and the factors share one depthwise convolution of the map.
    """

    def __init__(
        self,
        dim: int,
        *,
        degree: int = 2,
        kernel: int = 3,
        expand: float = 1.0,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        around = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False, **dd)
        self.dw = around if kernel > 1 else nn.Identity()
        self.a = nn.ModuleList(nn.Conv2d(dim, hidden, 1, bias=False, **dd) for _ in range(degree))
        self.s = nn.ModuleList(nn.Conv2d(hidden, hidden, 1, **dd) for _ in range(degree - 1))
        self.c = nn.Conv2d(hidden, dim, 1, **dd)
        self.multiply = interact == "mul"
        self.init_weights()

    def init_weights(self) -> None:
        """Set b_n = 1; a model calls this after it has initialised its convolutions."""
        for s in self.s:
            nn.init.ones_(s.get_parameter("bias"))

    def forward(self, z: Tensor) -> Tensor:
        h = self.dw(z)
        factors = [a(h) for a in self.a]
        x = factors[0]
        for index, s in enumerate(self.s):
            x = factors[index + 1] * s(x) if self.multiply else factors[index + 1] + s(x)
        return self.c(x)
