"""PolyAttn: self-attention whose similarities are fourth powers, normed by their sum instead of a softmax."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import (
    PositionNorm,
    RunningSums,
    needs_no_resolution,
    placed_normalisation,
    uncast_product,
)
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, odd


@block(
    family="attention",
    rules=(at_least("heads", 1), at_least("head_dim", 2), odd("kernel")),
    unused=lambda v: needs_no_resolution(v) if v["sums"] == "own" else (),
)
class PolyAttention(nn.Module):
    """Attention by a polynomial: the fourth power of one plus a scaled inner product.

    y = P DW4(o),  o_i = sum_j A_ij v_j / sum_j A_ij,  A_ij = (sigmoid(s) q_i . k_j + 1)^4  in each head
    q = DW1 c,  k = DW2 c,  v = DW3 u,  [c; u] = W norm(x)

    W pointwise C -> 2 D, P pointwise D -> C, with D = heads * head_dim, where `heads` None is C / 64 rounded up; DW1,
    DW2 depthwise k x k, DW3, DW4 depthwise 3 x 3; none has a bias. s is learned per head from sigmoid(s) = d^-1/2 with
    d = `head_dim`. The sums of A are at least 1e-12. Similarities and sums are computed in at least float32, also under
    autocast. With `running` sums, those of A are running means, as those of a batch norm, with a learned gain per row,
    and a norm by position stands before P: with `norm` by position, too, inference is a polynomial of x, at one
    resolution. There is no additive twin: the product is a contraction, not one of two maps.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 9 (nominal)
    Params: (3*C + 2*kernel**2 + 18)*(heads or ceil(C/64))*head_dim + (heads or ceil(C/64)) + weights(norm, C, N)
        + ((heads or ceil(C/64))*(head_dim + N) + N if sums == "running" else 0)
    MACs: (3*C + 2*kernel**2 + 18)*(heads or ceil(C/64))*head_dim*N + 2*(heads or ceil(C/64))*head_dim*N**2
    Products: 3*(heads or ceil(C/64))*N**2
    Source: Wang, Gregory, Chrysos, "Activation-free backbones for image recognition: polynomial alternatives within
        MetaFormer-style vision models", 2026, arXiv 2605.20839; heads, head_dim 32 and kernel 5 as in the authors'
        code.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int | None = None,
        head_dim: int = 32,
        kernel: int = 5,
        norm: Literal["position_norm"] | None = None,
        sums: Literal["own", "running"] = "own",
        resolution: tuple[int, int] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.heads = heads or math.ceil(dim / 64)
        inner = self.heads * head_dim
        depthwise: dict[str, Any] = {"groups": inner, "bias": False, **dd}
        self.norm = placed_normalisation(norm, dim, resolution, **dd)
        self.w = nn.Conv2d(dim, 2 * inner, 1, bias=False, **dd)
        self.q = nn.Conv2d(inner, inner, kernel, padding=kernel // 2, **depthwise)
        self.k = nn.Conv2d(inner, inner, kernel, padding=kernel // 2, **depthwise)
        self.v = nn.Conv2d(inner, inner, 3, padding=1, **depthwise)
        self.s = nn.Parameter(torch.full((self.heads,), -math.log(head_dim**0.5 - 1), **dd))
        self.dw = nn.Conv2d(inner, inner, 3, padding=1, **depthwise)
        self.sums: nn.Module | None = None
        self.norm2: nn.Module = nn.Identity()
        if sums == "running":
            assert resolution is not None  # given, as `unused` does not name it
            self.sums = RunningSums(self.heads, resolution, **dd)
            self.norm2 = PositionNorm(inner, resolution, **dd)
        self.project = nn.Conv2d(inner, dim, 1, bias=False, **dd)

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        shape = (x.shape[0], self.heads, -1, x.shape[2] * x.shape[3])
        c, u = self.w(self.norm(x)).chunk(2, dim=1)
        q, k, v = (part.to(wide).reshape(shape) for part in (self.q(c), self.k(c), self.v(u)))
        q = q * torch.sigmoid(self.s)[:, None, None]
        weights = (uncast_product(q.transpose(2, 3), k) + 1) ** 4
        if self.sums is not None:
            weights = self.sums(weights)
        else:
            weights = weights / weights.sum(3, keepdim=True).clamp(min=1e-12)
        out = uncast_product(v, weights.transpose(2, 3)).reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        return self.project(self.norm2(self.dw(out.to(x.dtype))))
