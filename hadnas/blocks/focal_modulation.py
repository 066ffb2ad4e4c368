"""Focal modulation: a query multiplied by context gathered at growing distances."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, within


@block(family="hadamard", twin=("interact", "mul", "sum"), rules=(odd("window"), within("levels", 1, 4)))
class FocalModulation(nn.Module):
    """A query modulated by a gated sum of depthwise contexts and of the global mean.

    [q; c_0; g_1 .. g_L+1] = F x;  c_l = act(DW_l(c_l-1));  m = sum_l g_l * c_l + g_L+1 * act(mean(c_L))
    y = P norm(q * H m)

    L = levels; DW_l depthwise, window + 2 (l - 1) wide, without bias, each level fed by the one before; one gate map
    per level, linear and unbounded; F pointwise C -> 2 C + L + 1; H, P pointwise C -> C. `normalise` divides m by
    L + 1. The additive twin (`sum`) adds q and H m; the gates stay.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 3 if interact == "mul" else 2
    Params: 4*C**2 + (levels + 1)*C + 4*C + levels + 1 + weights(norm, C) + (levels + 1)*weights(act, C)
        + (levels*window**2 + 2*window*levels*(levels-1) + 2*levels*(levels-1)*(2*levels-1)//3)*C
    MACs: (4*C**2 + (levels + 1)*C
        + (levels*window**2 + 2*window*levels*(levels-1) + 2*levels*(levels-1)*(2*levels-1)//3)*C)*H*W
    Products: (levels + 1 + (1 if interact == "mul" else 0))*C*N + levels*products(act, C*N) + products(act, C)
    Source: Yang et al., "Focal modulation networks", 2022, arXiv 2203.11926, section 3; factor 2 between the
        windows, as in every published network.
    timm: timm.models.focalnet.FocalModulation
    """

    def __init__(
        self,
        dim: int,
        *,
        levels: int = 2,
        window: int = 3,
        act: Act | None = "gelu",
        interact: Literal["mul", "sum"] = "mul",
        normalise: bool = False,
        norm: Norm | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.splits = (dim, dim, levels + 1)
        self.f = nn.Conv2d(dim, sum(self.splits), 1, **dd)
        self.levels = nn.ModuleList()
        for kernel in range(window, window + 2 * levels, 2):
            conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False, **dd)
            self.levels.append(nn.Sequential(conv, activation(act, **dd)))
        self.act = activation(act, **dd)
        self.h = nn.Conv2d(dim, dim, 1, **dd)
        self.norm = normalisation(norm, dim, **dd)
        self.proj = nn.Conv2d(dim, dim, 1, **dd)
        self.divisor = levels + 1 if normalise else None
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        q, context, gates = self.f(x).split(self.splits, dim=1)
        context = self.levels[0](context)
        m = context * gates[:, :1]
        for index, level in enumerate(self.levels):
            if index > 0:
                context = level(context)
                m = m + context * gates[:, index : index + 1]
        m = m + self.act(context.mean((2, 3), keepdim=True)) * gates[:, -1:]
        m = self.h(m if self.divisor is None else m / self.divisor)
        return self.proj(self.norm(q * m if self.multiply else q + m))
