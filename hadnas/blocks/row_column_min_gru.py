"""A recurrent mixer: minimal gated units over rows and columns in both directions, computed in parallel."""

from typing import Any, Literal

import torch
from timm.layers import register_notrace_function
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.registry import block
from hadnas.blocks.rules import require


def positive(a: Tensor) -> Tensor:
    """a + 1/2 for a >= 0, else sigmoid(a): positive, continuous, increasing."""
    return torch.where(a >= 0, a + 0.5, a.sigmoid())


@register_notrace_function
def scan(keep: Tensor, new: Tensor) -> Tensor:
    """h_t = keep_t h_{t-1} + new_t from h = 0 along the last axis, in log2(T) doubling steps."""
    step = 1
    while step < new.shape[-1]:
        new = new + keep * F.pad(new[..., :-step], (step, 0))
        keep = keep * F.pad(keep[..., :-step], (step, 0))
        step *= 2
    return new


def scan_both_ways(keep: Tensor, new: Tensor) -> Tensor:
    """The first half of the channels forwards along the last axis, the second half backwards."""
    (keep1, keep2), (new1, new2) = keep.chunk(2, dim=1), new.chunk(2, dim=1)
    h = scan(torch.cat([keep1, keep2.flip(-1)], dim=1), torch.cat([new1, new2.flip(-1)], dim=1))
    h1, h2 = h.chunk(2, dim=1)
    return torch.cat([h1, h2.flip(-1)], dim=1)


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(require(lambda v: v["dim"] % 4 == 0, "dim = {dim} must be a multiple of 4"),),
)
class RowColumnMinGru(nn.Module):
    """minGRU over the rows in both directions and over the columns in both, a quarter of the channels each.

    h_t = (1 - z_t) * h_{t-1} + z_t * g(a_t),  z = sigmoid(Wz x), a = Wa x, h_0 = 0;  y = W' [h right; left; down; up]

    Wz, Wa, W' pointwise C -> C; t runs along the row or column; g(a) = a + 1/2 for a >= 0, else sigmoid(a). Gates do
    not read h, so that all t are computed in parallel, by doubling, in at least float32. The additive twin (`sum`) adds
    z_t to g(a_t); the factor 1 - z_t of the state remains.

    Shapes: (B, C, H, W) -> (B, C, H, W); C a multiple of 4.
    Degree: max(H, W) + (1 if interact == "mul" else 0) (nominal)
    Params: 3*C**2 + 3*C
    MACs: 3*C**2*N
    Products: C*N*((1 if interact == "mul" else 0) + ceil(log2(H)) + ceil(log2(W)))
    Source: Feng et al., "Were RNNs all we needed?", 2024, arXiv 2410.01201, section 3.1, and appendix B for g; over
        rows and columns as Tatsunami and Taki, "Sequencer", 2022, arXiv 2205.01972. The scan is not done in logarithms.
    """

    def __init__(
        self, dim: int, *, interact: Literal["mul", "sum"] = "mul", device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.w = nn.Conv2d(dim, 2 * dim, 1, **dd)
        self.project = nn.Conv2d(dim, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        z, a = self.w(x).to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=1)
        share, keep, g = z.sigmoid(), (-z).sigmoid(), positive(a)
        new = share * g if self.multiply else share + g
        (new1, new2), (keep1, keep2) = new.chunk(2, dim=1), keep.chunk(2, dim=1)
        rows = scan_both_ways(keep1, new1)
        columns = scan_both_ways(keep2.transpose(2, 3), new2.transpose(2, 3)).transpose(2, 3)
        return self.project(torch.cat([rows, columns], dim=1).to(x.dtype))
