"""FiLM: one input scales and shifts every channel of the other's map."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least


@register(
    "fusion",
    family="hadamard",
    reads="map",
    twin=("interact", "mul", "sum"),
    rules=(at_least("hidden", 1),),
)
class Film(nn.Module):
    """The right input, averaged over positions, scales and shifts every channel of the left one's map.

    [g; s] = F n(mean(b));  y = P ((1 + g) * m(U n(a)) + s)

    U pointwise left_dim -> hidden, F right_dim -> 2 hidden, P pointwise hidden -> C, all with bias; n are norms over
    the channels of a position, m is one over the channels and positions of an image, without weights. At g = s = 0 the
    right input has no effect. The additive twin (`sum`) is P (g + m(U n(a)) + s).

    Shapes: a (B, left_dim, H, W), b (B, right_dim, H', W') -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: (left_dim + 1)*hidden + 2*(right_dim + 1)*hidden + (hidden + 1)*C + 2*(left_dim + right_dim)
    MACs: (left_dim + C)*hidden*N + 2*right_dim*hidden
    Products: hidden*N if interact == "mul" else 0
    Source: Perez et al., "FiLM: visual reasoning with a general conditioning layer", 2018, arXiv 1709.07871, equations
        1 and 2, with gamma = 1 + g.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = normalisation("layernorm2d", left_dim, **dd)
        self.right_norm = normalisation("layernorm2d", right_dim, **dd)
        self.u = nn.Conv2d(left_dim, hidden, 1, **dd)
        self.norm = nn.GroupNorm(1, hidden, affine=False, **dd)
        self.f = nn.Conv2d(right_dim, 2 * hidden, 1, **dd)
        self.out = nn.Conv2d(hidden, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        scale, shift = self.f(self.right_norm(b.mean((2, 3), keepdim=True))).chunk(2, dim=1)
        a = self.norm(self.u(self.left_norm(a)))
        return self.out((a * (1 + scale) if self.multiply else a + scale) + shift)
