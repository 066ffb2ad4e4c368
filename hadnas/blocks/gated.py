"""The gated merge: the skip plus the branch, gated by the skip."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import register


@register("merge", family="hadamard", twin=("interact", "mul", "sum"))
class Gated(nn.Module):
    """Skip plus branch, the branch gated by a pointwise map of the skip.

    y = a + act(G a) * b

    G pointwise C -> C. The identity path remains, so that merges stack: a bare gate halves its signal at every node.
    With act = None the gate is linear and unbounded. The additive twin (`sum`) is a + act(G a) + b.

    Shapes: a, b (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: C**2 + C + weights(act, C)
    MACs: C**2*H*W
    Products: (C*N if interact == "mul" else 0) + products(act, C*N)
    Source: Dauphin et al., "Language modeling with gated convolutional networks", 2016, arXiv 1612.08083, equation 1,
        with the gate computed from the skip; the identity path is added here.
    """

    def __init__(
        self,
        dim: int,
        *,
        act: Act | None = "sigmoid",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.g = nn.Conv2d(dim, dim, 1, **dd)
        self.act = activation(act, **dd)
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        gate = self.act(self.g(a))
        return a + (gate * b if self.multiply else gate + b)
