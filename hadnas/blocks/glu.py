"""The gated linear unit as a feed-forward network, with or without an activation."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import require, some_channels


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        some_channels("expand"),
        require(
            lambda v: v["kernel"] is None or (v["kernel"] >= 1 and v["kernel"] % 2 == 1),
            "kernel = {kernel} must be odd and at least 1, or None",
        ),
    ),
)
class Glu(nn.Module):
    """Feed-forward network in which one half of the hidden channels gates the other.

    h = DW(x);  [a; g] = F h;  y = G(a * act(g))

    F pointwise C -> 2 e C, G pointwise e C -> C, e C rounded down; DW depthwise k x k, or the identity if `kernel` is
    None. act = sigmoid is GLU, silu SwiGLU, gelu GEGLU, relu ReGLU and None the bilinear unit. The additive twin
    (`sum`) adds a and act(g). With e = 8/3 it costs as much as a plain feed-forward network of ratio 4.
    `conv_glu` and `gdfn` convolve behind F.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 3*C*(expand*C//1) + 2*(expand*C//1) + C + weights(act, expand*C//1) + ((kernel**2 + 1)*C if kernel else 0)
    MACs: (3*C*(expand*C//1) + (kernel**2*C if kernel else 0))*H*W
    Products: ((expand*C//1)*N if interact == "mul" else 0) + products(act, (expand*C//1)*N)
    Source: Shazeer, "GLU variants improve transformer", 2020, arXiv 2002.05202, equations 4 to 6; with kernel 7,
        expand 3 and act gelu the block of DemoNet (Ma et al., "Rewrite the stars", 2024, arXiv 2403.19967).
    timm: timm.layers.GluMlp
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: float = 8 / 3,
        kernel: int | None = None,
        act: Act | None = "silu",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.dw = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd) if kernel else nn.Identity()
        self.f = nn.Conv2d(dim, 2 * hidden, 1, **dd)
        self.act = activation(act, **dd)
        self.g = nn.Conv2d(hidden, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        a, g = self.f(self.dw(x)).chunk(2, dim=1)
        g = self.act(g)
        return self.g(a * g if self.multiply else a + g)
