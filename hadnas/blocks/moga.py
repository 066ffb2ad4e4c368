"""MogaNet's gated aggregation: a gate multiplied by depthwise contexts of three reaches."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, require


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(odd("kernel"), require(lambda v: v["dim"] % 8 == 0, "dim = {dim} must be divisible by 8, the shares")),
)
class Moga(nn.Module):
    """Multi-order gated aggregation after a step that learns to sharpen each channel about its mean.

    h = P1 x;  u = act(h + s * (h - mean(h)));  [l; m; f] = DW(u);  y = P2(act(G u) * act(V [l; DW'(m); DW''(f)]))
    [+ x with `skip`]

    P1, P2, G, V pointwise C -> C; mean over positions, s learned per channel from 1e-5; l, m, f have C / 8, 3 C / 8 and
    C / 2 channels; DW, DW', DW'' depthwise, k, k and k + 2 wide, with dilations 1, 2 and 3. `skip` is the inner
    residual of the published network, over the normed input. The additive twin (`sum`) adds the gate.

    Shapes: (B, C, H, W) -> (B, C, H, W), C divisible by 8.
    Degree: 2 if interact == "mul" else 1
    Params: 4*C**2 + 11*kernel**2*C//8 + (kernel + 2)**2*C//2 + 55*C//8 + 3*weights(act, C)
    MACs: (4*C**2 + 11*kernel**2*C//8 + (kernel + 2)**2*C//2)*H*W
    Products: (C*N if interact == "mul" else 0) + 3*products(act, C*N)
    Source: Li et al., "MogaNet: multi-order gated aggregation network", 2022, arXiv 2211.03295, section 4.2; shares,
        dilations and the widths 5, 5 and 7 as published, s and `skip` as in the authors' released network.
    """

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 5,
        act: Act | None = "silu",
        skip: bool = False,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        wide, middle, far = kernel + 2, 3 * dim // 8, dim // 2
        self.splits = (dim // 8, middle, far)
        self.proj_in = nn.Conv2d(dim, dim, 1, **dd)
        self.s = nn.Parameter(torch.full((dim,), 1e-5, **dd))
        self.act = activation(act, **dd)
        self.gate = nn.Conv2d(dim, dim, 1, **dd)
        self.dw = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.dw_middle = nn.Conv2d(middle, middle, kernel, padding=kernel // 2 * 2, dilation=2, groups=middle, **dd)
        self.dw_far = nn.Conv2d(far, far, wide, padding=wide // 2 * 3, dilation=3, groups=far, **dd)
        self.v = nn.Conv2d(dim, dim, 1, **dd)
        self.act_gate = activation(act, **dd)
        self.act_v = activation(act, **dd)
        self.proj_out = nn.Conv2d(dim, dim, 1, **dd)
        self.skip = skip
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        h = self.proj_in(x)
        u = self.act(h + self.s[:, None, None] * (h - h.mean((2, 3), keepdim=True)))
        near, middle, far = self.dw(u).split(self.splits, dim=1)
        v = self.v(torch.cat((near, self.dw_middle(middle), self.dw_far(far)), dim=1))
        gate, v = self.act_gate(self.gate(u)), self.act_v(v)
        y = self.proj_out(gate * v if self.multiply else gate + v)
        return x + y if self.skip else y
