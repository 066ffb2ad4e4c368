"""AFT-conv: attention without queries times keys, whose position weights are one small kernel per channel."""

from typing import Any, Literal

import torch
from timm.layers import register_notrace_function
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd


@register_notrace_function
def uncast_depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """The depthwise convolution of `x` with `weight` in their own dtype, also under autocast (meta has none)."""
    padding = weight.shape[2] // 2
    if not torch.jit.is_scripting() and not x.is_meta:
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x, weight, padding=padding, groups=x.shape[1])
    return F.conv2d(x, weight, padding=padding, groups=x.shape[1])


@block(family="attention", twin=("interact", "mul", "sum"), rules=(odd("kernel"),))
class AftConv(nn.Module):
    """Attention-free attention: a gate multiplies a mean of all values, weighted by content and by distance.

    y_i = P(sigmoid(q_i) * n_i / d_i),  n_i = sum_j exp(k_j + w_ij) v_j,  d_i = sum_j exp(k_j + w_ij)  in each channel

    q, k, v, P pointwise C -> C, k without bias, which would cancel; w_ij = w[j - i] inside a k x k window, one for each
    channel and 0 at first, and 0 outside. So n = DW(exp(k) v) + sum_j exp(k_j) v_j, and d likewise, with DW a depthwise
    convolution by exp(w) - 1; both in at least float32, also under autocast, since negative w make them a difference.
    The additive twin (`sum`) adds sigmoid(q).

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: (3 if interact == "mul" else 2) (nominal)
    Params: 4*C**2 + (kernel**2 + 3)*C
    MACs: (4*C**2 + 2*kernel**2*C)*H*W
    Products: (2 if interact == "mul" else 1)*C*N
    Source: Zhai et al., "An attention free transformer", 2021, arXiv 2105.14103, AFT-conv with as many heads as
        channels; its normalisation of w is left out.
    """

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 7,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.q = nn.Conv2d(dim, dim, 1, **dd)
        self.k = nn.Conv2d(dim, dim, 1, bias=False, **dd)
        self.v = nn.Conv2d(dim, dim, 1, **dd)
        self.w = nn.Parameter(torch.zeros(dim, 1, kernel, kernel, **dd))
        self.project = nn.Conv2d(dim, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        k, v, w = self.k(x).to(wide), self.v(x).to(wide), self.w.to(wide)
        k = torch.exp(k - k.amax((2, 3), keepdim=True))  # a shift, which cancels
        both = torch.cat((k * v, k), dim=1)
        both = uncast_depthwise(both, torch.expm1(w).repeat(2, 1, 1, 1)) + both.sum((2, 3), keepdim=True)
        n, d = both.chunk(2, dim=1)
        gate, mean = torch.sigmoid(self.q(x)), (n / d).to(x.dtype)
        return self.project(gate * mean if self.multiply else gate + mean)
