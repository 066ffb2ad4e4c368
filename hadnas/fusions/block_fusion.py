"""BLOCK: a core of several blocks, each a small form of both inputs of its own."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import power_norm
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, require


@register(
    "fusion",
    family="hadamard",
    reads="vector",
    twin=("interact", "mul", "sum"),
    rules=(
        *(at_least(slot, 1) for slot in ("hidden", "core", "rank", "chunks")),
        require(
            lambda v: v["hidden"] % v["chunks"] == 0 and v["core"] % v["chunks"] == 0,
            "chunks = {chunks} must divide hidden = {hidden} and core = {core}",
        ),
    ),
)
class BlockFusion(nn.Module):
    """Projections are split into chunks; in each, `rank` products of further projections are summed.

    z_c = power(sum_r (M_cr (U n(a))_c) * (N_cr (V n(b))_c));  y = P [z_1; ...; z_chunks]

    U left_dim -> core, V right_dim -> core, M_cr and N_cr core / chunks -> hidden / chunks, P hidden -> C, all with
    bias; n are LayerNorms. power divides z_c by sqrt(|z_c| + 1e-4), then by its length; without `power` it is the
    identity, and one chunk is MUTAN. The additive twin (`sum`) adds in place of the product.

    Shapes: a (B, left_dim), b (B, right_dim) -> (B, C).
    Degree: (2 if interact == "mul" else 1) (nominal)
    Params: (left_dim + right_dim + 2)*core + 2*(core//chunks + 1)*hidden*rank + (hidden + 1)*C
        + 2*(left_dim + right_dim)
    MACs: (left_dim + right_dim)*core + 2*(core//chunks)*hidden*rank + C*hidden
    Products: hidden*rank if interact == "mul" else 0
    Source: Ben-younes et al., "BLOCK: bilinear superdiagonal fusion", 2019, arXiv 1902.00038, equations 4 to 7; here
        with a norm of each input.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        core: int = 32,
        rank: int = 5,
        chunks: int = 4,
        power: bool = True,
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
        self.m = nn.Conv1d(core, rank * hidden, 1, groups=chunks, **dd)
        self.n = nn.Conv1d(core, rank * hidden, 1, groups=chunks, **dd)
        self.out = nn.Linear(hidden, dim, **dd)
        self.split = (chunks, rank, hidden // chunks)
        self.power = power
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a = self.m(self.u(self.left_norm(a)).unsqueeze(2))
        b = self.n(self.v(self.right_norm(b)).unsqueeze(2))
        z = (a * b if self.multiply else a + b).reshape(a.shape[0], *self.split).sum(2)
        return self.out((power_norm(z) if self.power else z).flatten(1))
