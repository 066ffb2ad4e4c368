"""MFB: products of projections of both inputs, summed in groups."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import power_norm
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least


@register(
    "fusion",
    family="hadamard",
    reads="vector",
    twin=("interact", "mul", "sum"),
    rules=(at_least("hidden", 1), at_least("factors", 1)),
)
class Mfb(nn.Module):
    """Products of projections of both inputs, of which each `factors` are summed; then a power norm.

    z_m = sum_k (U n(a))_mk * (V n(b))_mk;  y = P power(z)

    U left_dim -> hidden * factors, V right_dim likewise, P hidden -> C, all with bias; n are LayerNorms. power divides
    z by sqrt(|z| + 1e-4), then by its length; without `power` it is the identity. The additive twin (`sum`) adds the
    projections.

    Shapes: a (B, left_dim), b (B, right_dim) -> (B, C).
    Degree: (2 if interact == "mul" else 1) (nominal)
    Params: (left_dim + right_dim + 2)*hidden*factors + (hidden + 1)*C + 2*(left_dim + right_dim)
    MACs: (left_dim + right_dim)*hidden*factors + C*hidden
    Products: hidden*factors if interact == "mul" else 0
    Source: Yu et al., "Multi-modal factorized bilinear pooling with co-attention learning for visual question
        answering", 2017, arXiv 1708.01471, section 3; here with a norm of each input.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        factors: int = 5,
        power: bool = True,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = nn.LayerNorm(left_dim, **dd)
        self.right_norm = nn.LayerNorm(right_dim, **dd)
        self.u = nn.Linear(left_dim, hidden * factors, **dd)
        self.v = nn.Linear(right_dim, hidden * factors, **dd)
        self.out = nn.Linear(hidden, dim, **dd)
        self.factors = factors
        self.power = power
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.u(self.left_norm(a)), self.v(self.right_norm(b))
        z = (a * b if self.multiply else a + b).reshape(a.shape[0], -1, self.factors).sum(2)
        return self.out(power_norm(z) if self.power else z)
