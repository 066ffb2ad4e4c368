"""The channel MLP: the feed-forward network of transformers, at each position or with a depthwise convolution."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, some_channels


@block(
    family="additive",
    rules=(some_channels("expand"), odd("kernel")),
    unused=lambda v: ("kernel",) if v["mix"] == "none" else (),
)
class Mlp(nn.Module):
    """Two pointwise layers with an activation between them, and an optional depthwise convolution.

    none:    y = W2 act(W1 x)
    before:  y = W2 act(DW W1 x)
    after:   y = W2 (h + act'(DW h)),  h = act(W1 x)

    W1, W2 pointwise C -> e C -> C, e C rounded down; DW depthwise k x k. `mix` chooses the place of DW.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 2*(expand*C//1)*C + ((expand*C//1) + C if bias else 0) + (2 if mix == "after" else 1)
        *weights(act, expand*C//1)
        + (0 if mix == "none" else (kernel**2 + (1 if bias else 0))*(expand*C//1))
    MACs: 2*(expand*C//1)*C*N + (0 if mix == "none" else kernel**2*(expand*C//1)*N)
    Products: (2 if mix == "after" else 1)*products(act, (expand*C//1)*N)
    Source: Dosovitskiy et al., "An image is worth 16x16 words", 2020, arXiv 2010.11929, equation 3; `before`: Guo et
        al., "Visual attention network", 2022, arXiv 2202.09741; `after`: Hou et al., "Conv2Former", 2022,
        arXiv 2211.11943.
    timm: timm.layers.Mlp
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int | float = 4,
        act: Act = "gelu",
        bias: bool = True,
        mix: Literal["none", "before", "after"] = "none",
        kernel: int = 3,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.w1 = nn.Conv2d(dim, hidden, 1, bias=bias, **dd)
        self.act = activation(act, **dd)
        self.w2 = nn.Conv2d(hidden, dim, 1, bias=bias, **dd)
        self.mix = mix
        self.dw: nn.Module = nn.Identity()
        if mix != "none":
            self.dw = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=bias, **dd)
        self.act_dw = activation(act if mix == "after" else None, **dd)

    def forward(self, x: Tensor) -> Tensor:
        h = self.w1(x)
        if self.mix == "before":
            h = self.dw(h)
        h = self.act(h)
        if self.mix == "after":
            h = h + self.act_dw(self.dw(h))
        return self.w2(h)
