"""A polynomial of the features, by coupled CP decomposition (CCP)."""

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
class Ccp(nn.Module):
    """Polynomial of degree D in the input, its factors shared between the degrees.

    x_1 = U_1 z;  x_n = (U_n z) * x_n-1 + x_n-1 for n = 2 .. D;  y = C x_D

    D = degree; U_n pointwise C -> e C without bias, after a separate depthwise k x k convolution if kernel > 1;
    C pointwise e C -> C, e C rounded down. The additive twin (`sum`) is x_n = U_n z + x_n-1. The degree is at most 4,
    since nothing is normalised inside and each step doubles the variance.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: degree if interact == "mul" else 1
    Params: (degree + 1)*C*(expand*C//1) + C + (degree*kernel**2*C if kernel > 1 else 0)
    MACs: ((degree + 1)*C*(expand*C//1) + (degree*kernel**2*C if kernel > 1 else 0))*H*W
    Products: (degree - 1)*(expand*C//1)*H*W if interact == "mul" else 0
    Source: Chrysos et al., "Deep polynomial neural networks", 2020, arXiv 2006.13026, the CCP model; the
        factors act on every position of a map, with or without its neighbours.
    """

    def __init__(
        self,
        dim: int,
        *,
        degree: int = 2,
        kernel: int = 1,
        expand: float = 1.0,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.u = nn.ModuleList()
        for _ in range(degree):
            around = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False, **dd)
            pointwise = nn.Conv2d(dim, hidden, 1, bias=False, **dd)
            self.u.append(nn.Sequential(around, pointwise) if kernel > 1 else pointwise)
        self.c = nn.Conv2d(hidden, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, z: Tensor) -> Tensor:
        x = self.u[0](z)
        for index, u in enumerate(self.u):
            if index > 0:
                x = u(z) * x + x if self.multiply else u(z) + x
        return self.c(x)
