"""Linear attention with a product of several kernels as its similarity."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import uncast_product
from hadnas.blocks.registry import block
from hadnas.blocks.rules import divides, require, within


@block(
    family="attention",
    rules=(
        divides("heads"),
        within("factors", 1, 3),
        within("rank", 1, 16),
        require(
            lambda v: v["rank"] ** v["factors"] <= 256,
            "rank = {rank} to the power of factors = {factors} must be at most 256, the features of a head",
        ),
    ),
)
class HadamardLinearAttention(nn.Module):
    """Attention by a Hadamard product of low-rank similarity matrices, without the matrix.

    y = W' o,  o_i = sum_j S_ij v_j / sum_j S_ij,  S_ij = prod_{m=1..M} phi(q_im) . phi(k_jm)  in each head

    M = `factors`; q_im, k_im of `rank` r values per head, by pointwise maps; v of C / heads values; phi = ELU + 1, or
    ReLU + 1e-3, so that S is positive. A product of Gram matrices is the Gram matrix of the outer products of features,
    r^M of them, so the cost is linear in the positions. There is no additive twin: a sum of Gram matrices needs only
    M r features, hence fewer MACs. Sums and quotient are computed in at least float32, also under autocast.

    Shapes: (B, C, H, W) -> (B, C, H, W); heads divides C, r^M <= 256.
    Degree: 2*factors + 1 (nominal)
    Params: 2*C**2 + 2*C + 2*(C + 1)*heads*factors*rank
    MACs: (2*C**2 + 2*C*heads*factors*rank)*N
        + (heads*(C//heads + 1)*rank**factors*N if rank**factors > 1 else 0)
        + (heads*(C//heads + 1)*rank**factors*N if N > 1 else 0)
    Products: 2*heads*N*sum(rank**m for m in range(2, factors + 1))
        + (heads*(C//heads + 1)*N if rank**factors == 1 else 0)
        + (heads*(C//heads + 1)*rank**factors if N == 1 else 0)
    Source: Ackermann et al., "HLA: Hadamard linear attention", 2026, arXiv 2602.12128, for the product of similarities;
        the features and the scale are ours. ELU + 1: Katharopoulos et al., "Transformers are RNNs", 2020,
        arXiv 2006.16236, equation 7.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        factors: int = 2,
        rank: int = 8,
        phi: Literal["elu", "relu"] = "elu",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.heads, self.factors, self.rank, self.phi = heads, factors, rank, phi
        self.qk = nn.Conv2d(dim, 2 * heads * factors * rank, 1, **dd)
        self.v = nn.Conv2d(dim, dim, 1, **dd)
        self.project = nn.Conv2d(dim, dim, 1, **dd)

    def features(self, maps: Tensor) -> Tensor:
        """(B, heads M r, N) -> (B, heads, r^M, N): the outer product over m of the positive features."""
        batch, _, tokens = maps.shape
        positive = F.elu(maps) + 1 if self.phi == "elu" else F.relu(maps) + 1e-3
        parts = positive.reshape(batch, self.heads, self.factors, self.rank, tokens).unbind(2)
        joined = parts[0]
        for index in range(1, self.factors):
            joined = (joined.unsqueeze(3) * parts[index].unsqueeze(2)).flatten(2, 3)
        return joined

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        q, k = self.qk(x).flatten(2).to(wide).chunk(2, dim=1)
        v = self.v(x).to(wide).reshape(x.shape[0], self.heads, -1, x.shape[2] * x.shape[3])
        # With a row of ones below v, the same product also returns the sums of the similarities.
        v = F.pad(v, (0, 0, 0, 1), value=1.0)
        out = uncast_product(uncast_product(v, self.features(k).transpose(2, 3)), self.features(q))
        out = out[:, :, :-1] / out[:, :, -1:]
        return self.project(out.reshape(x.shape).to(x.dtype))
