"""EfficientMod's block: hidden channels modulated by one shared context."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, odd


@block(family="hadamard", twin=("interact", "mul", "sum"), rules=(at_least("expand", 1), odd("kernel")))
class EfficientModulation(nn.Module):
    """Feed-forward network that multiplies every group of C hidden channels by the same convolved context.

    m = G act(DW(F x));  h = act(W1 x), in e groups of C channels;  y = W2 [h_1 * m; ...; h_e * m]

    F, G pointwise C -> C; W1 pointwise C -> e C, W2 pointwise e C -> C; DW depthwise k x k. With e = 1, h is not
    activated. The published networks alternate e = 1 with 4 or 6. The additive twin (`sum`) adds m to every group.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: (2*expand + 2)*C**2 + (kernel**2 + expand + 4)*C + weights(act, C)
        + (weights(act, expand*C) if expand > 1 else 0)
    MACs: ((2*expand + 2)*C**2 + kernel**2*C)*H*W
    Products: (expand*C*N if interact == "mul" else 0) + products(act, C*N)
        + (products(act, expand*C*N) if expand > 1 else 0)
    Source: Ma et al., "Efficient modulation for vision networks", 2024, arXiv 2403.19963, section 3; one kernel, as in
        every published network.
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int = 4,
        kernel: int = 7,
        act: Act | None = "gelu",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.f = nn.Conv2d(dim, dim, 1, **dd)
        self.dw = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.act_context = activation(act, **dd)
        self.g = nn.Conv2d(dim, dim, 1, **dd)
        self.w1 = nn.Conv2d(dim, expand * dim, 1, **dd)
        self.act = activation(act if expand > 1 else None, **dd)
        self.w2 = nn.Conv2d(expand * dim, dim, 1, **dd)
        self.expand = expand
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        m = self.g(self.act_context(self.dw(self.f(x)))).unsqueeze(1)
        h = self.act(self.w1(x)).unflatten(1, (self.expand, -1))
        return self.w2((h * m if self.multiply else h + m).flatten(1, 2))
