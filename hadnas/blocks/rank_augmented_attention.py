"""RALA: linear attention with weighted keys, whose output is multiplied by a map of its input to raise its rank."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import uncast_product
from hadnas.blocks.registry import block
from hadnas.blocks.rules import divides, odd, require


@block(
    family="attention",
    twin=("interact", "mul", "sum"),
    rules=(
        divides("heads"),
        require(lambda v: 2 * v["heads"] <= v["dim"], "heads = {heads} must leave two channels of dim = {dim} to each"),
        odd("kernel"),
    ),
)
class RankAugmentedAttention(nn.Module):
    """Rank-augmented linear attention: keys weighted by the mean query, the output multiplied by a map of the input.

    y = P(phi * (o + DW(v))),  o_i = sum_j a_j (q_i . k_j) v_j / (sum_j a_j q_i . k_j + 1e-6)
    a = softmax_j(mean(q) . k_j / sqrt(d))  in each head

    phi, v, P pointwise C -> C; q and k pointwise, then ELU + 1; d = C / heads; mean over positions; DW depthwise k x k,
    or 0 if `kernel` is None. Sums and quotient are computed in at least float32, also under autocast. The additive twin
    (`sum`) adds phi; the product a_j k_j stays.

    Shapes: (B, C, H, W) -> (B, C, H, W); heads divides C, C / heads >= 2.
    Degree: (4 if interact == "mul" else 3) (nominal)
    Params: 5*C**2 + 5*C + ((kernel**2 + 1)*C if kernel else 0)
    MACs: (5*C**2 + 2*(C//heads + 1)*C + C + (kernel**2*C if kernel else 0))*N
    Products: (2 if interact == "mul" else 1)*C*N
    Source: Fan et al., "Breaking the low-rank dilemma of linear attention", 2024, arXiv 2411.07635, and its code for a
        and DW; its rotary embedding of positions is left out.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        kernel: int | None = 5,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qk = nn.Conv2d(dim, 2 * dim, 1, **dd)
        self.v = nn.Conv2d(dim, dim, 1, **dd)
        self.phi = nn.Conv2d(dim, dim, 1, **dd)
        self.dw = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd) if kernel else None
        self.project = nn.Conv2d(dim, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        shape = (x.shape[0], self.heads, -1, x.shape[2] * x.shape[3])
        q, k = (F.elu(self.qk(x).flatten(2).to(wide)) + 1).chunk(2, dim=1)
        q, k, v = q.reshape(shape), k.reshape(shape), self.v(x)
        scores = uncast_product(q.mean(3, keepdim=True).transpose(2, 3), k) * self.scale
        # With a row of ones below v, the same product also returns the sums of the similarities.
        values = F.pad(v.to(wide).reshape(shape), (0, 0, 0, 1), value=1.0)
        out = uncast_product(uncast_product(values, (k * scores.softmax(3)).transpose(2, 3)), q)
        out = (out[:, :, :-1] / (out[:, :, -1:] + 1e-6)).reshape(x.shape).to(x.dtype)
        if self.dw is not None:
            out = out + self.dw(v)
        phi = self.phi(x)
        return self.project(phi * out if self.multiply else phi + out)
