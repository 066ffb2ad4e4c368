"""MUTAN: a Tucker form of two inputs whose core is a sum of products."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least


@register(
    "fusion",
    family="hadamard",
    reads="vector",
    twin=("interact", "mul", "sum"),
    rules=(at_least("hidden", 1), at_least("core", 1), at_least("rank", 1)),
)
class Mutan(nn.Module):
    """Projections to a small core, where `rank` products of further projections are summed.

    z = sum_r (M_r U n(a)) * (N_r V n(b));  y = P z

    U left_dim -> core, V right_dim -> core, M_r and N_r core -> hidden, P hidden -> C, all with bias; n are LayerNorms.
    The additive twin (`sum`) adds M_r U n(a) and N_r V n(b).

    Shapes: a (B, left_dim), b (B, right_dim) -> (B, C).
    Degree: 2 if interact == "mul" else 1
    Params: (left_dim + right_dim + 2)*core + 2*(core + 1)*hidden*rank + (hidden + 1)*C + 2*(left_dim + right_dim)
    MACs: (left_dim + right_dim)*core + 2*core*hidden*rank + C*hidden
    Products: hidden*rank if interact == "mul" else 0
    Source: Ben-younes et al., "MUTAN: multimodal Tucker fusion for visual question answering", 2017, arXiv 1705.06676,
        equation 8; without its tanh, and with a norm of each input.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        core: int = 16,
        rank: int = 5,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = nn.LayerNorm(left_dim, **dd)
        self.right_norm = nn.LayerNorm(right_dim, **dd)
        self.u = nn.Linear(left_dim, core, **dd)
        self.v = nn.Linear(right_dim, core, **dd)
        self.m = nn.Linear(core, rank * hidden, **dd)
        self.n = nn.Linear(core, rank * hidden, **dd)
        self.out = nn.Linear(hidden, dim, **dd)
        self.rank = rank
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.m(self.u(self.left_norm(a))), self.n(self.v(self.right_norm(b)))
        return self.out((a * b if self.multiply else a + b).reshape(a.shape[0], self.rank, -1).sum(1))
