"""Poly-NL: the third-degree interaction of all positions, at linear cost."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Norm, normalisation
from hadnas.blocks.registry import block


@block(family="attention", name="poly_nl", twin=("interact", "mul", "sum"))
class PolyNl(nn.Module):
    """A non-local block as a polynomial: the mean of one product, multiplied into the map.

    y = norm(W3(mean((W1 x) * (W2 x)) * x))

    W1, W2, W3 pointwise C -> C without bias; mean over positions. It equals the double sum over positions of a
    non-local block without softmax, in one pass. In the additive twin (`sum`) both products are sums.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 3 if interact == "mul" else 1
    Params: 3*C**2 + weights(norm, C)
    MACs: 3*C**2*N
    Products: 2*C*N if interact == "mul" else 0
    Source: Babiloni et al., "Poly-NL: linear complexity non-local layers with 3rd order polynomials", 2021,
        arXiv 2107.02859; the residual node replaces its skip beta x, LayerScale its alpha.
    """

    def __init__(
        self,
        dim: int,
        *,
        norm: Norm | None = None,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.w1 = nn.Conv2d(dim, dim, 1, bias=False, **dd)
        self.w2 = nn.Conv2d(dim, dim, 1, bias=False, **dd)
        self.w3 = nn.Conv2d(dim, dim, 1, bias=False, **dd)
        self.norm = normalisation(norm, dim, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.w1(x), self.w2(x)
        context = (a * b if self.multiply else a + b).mean((2, 3), keepdim=True)
        return self.norm(self.w3(context * x if self.multiply else context + x))
