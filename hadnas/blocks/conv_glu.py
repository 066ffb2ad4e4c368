"""TransNeXt's feed-forward network: a gate that is convolved before its activation."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, some_channels


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        odd("kernel"),
        some_channels("expand"),
    ),
)
class ConvGlu(nn.Module):
    """Convolutional gated linear unit: each value is gated by its neighbourhood.

    [g; a] = F x;  y = G(act(DW(g)) * a)

    F pointwise C -> 2 e C, DW depthwise k x k over e C, G pointwise e C -> C, e C rounded down. `glu` convolves before
    F, `gdfn` both halves. The additive twin (`sum`) adds act(DW(g)) and a.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: (3*C + kernel**2 + 3)*(expand*C//1) + C + weights(act, expand*C//1)
    MACs: (3*C + kernel**2)*(expand*C//1)*H*W
    Products: ((expand*C//1)*N if interact == "mul" else 0) + products(act, (expand*C//1)*N)
    Source: Shi, "TransNeXt: robust foveal visual perception for vision transformers", 2023, arXiv 2311.17132;
        expand 8/3 is two thirds of its ratio 4.
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: float = 8 / 3,
        kernel: int = 3,
        act: Act | None = "gelu",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.f = nn.Conv2d(dim, 2 * hidden, 1, **dd)
        self.dw = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, **dd)
        self.act = activation(act, **dd)
        self.g = nn.Conv2d(hidden, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        g, a = self.f(x).chunk(2, dim=1)
        g = self.act(self.dw(g))
        return self.g(g * a if self.multiply else g + a)
