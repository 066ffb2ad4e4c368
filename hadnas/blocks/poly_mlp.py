"""PolyMLP: a feed-forward network of one normed product, without activations and biases."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import PlacedNorm, needs_no_resolution, placed_normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import require


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(require(lambda v: v["expand"] * v["dim"] >= 2, "expand = {expand} leaves no channel of dim = {dim}"),),
    unused=needs_no_resolution,
)
class PolyMlp(nn.Module):
    """Feed-forward network whose two hidden maps are multiplied, and normed before they are mapped back.

    y = W2 norm(a * b),  [a; b] = W1 x

    W1 pointwise C -> e C, half of it a and half b, rounded down; W2 pointwise e C / 2 -> C; neither has a bias. The
    additive twin (`sum`) adds a and b. Published without a norm in front of it.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 3*C*(expand*C//2) + weights(norm, int(expand*C//2), N)
    MACs: 3*C*(expand*C//2)*N
    Products: (expand*C//2)*N if interact == "mul" else 0
    Source: Wang, Gregory, Chrysos, "Activation-free backbones for image recognition: polynomial alternatives within
        MetaFormer-style vision models", 2026, arXiv 2605.20839; expand 2, or 1.75 in late stages, and the norm as in
        the authors' code.
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: float = 2.0,
        norm: PlacedNorm | None = "layernorm2d_no_bias_eps1e-5",
        interact: Literal["mul", "sum"] = "mul",
        resolution: tuple[int, int] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim // 2)
        self.w1 = nn.Conv2d(dim, 2 * hidden, 1, bias=False, **dd)
        self.norm = placed_normalisation(norm, hidden, resolution, **dd)
        self.w2 = nn.Conv2d(hidden, dim, 1, bias=False, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.w1(x).chunk(2, dim=1)
        return self.w2(self.norm(a * b if self.multiply else a + b))
