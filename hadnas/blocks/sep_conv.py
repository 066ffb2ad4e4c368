"""The separable convolution of ConvFormer: inverted, activated by StarReLU, without norms."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, some_channels


@block(family="convolution", rules=(some_channels("expand"), odd("kernel")))
class SepConv(nn.Module):
    """Pointwise expansion, activation, depthwise convolution, pointwise projection.

    y = W2 DW act(W1 x)

    W1, W2 pointwise C -> e C -> C, e C rounded down; DW depthwise k x k on e C channels. StarReLU, s relu(h)^2 + b with
    learned s and b, is a product of the map with itself.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 2*(expand*C//1)*C + kernel**2*(expand*C//1) + weights(act, expand*C//1)
        + (2*(expand*C//1) + C if bias else 0)
    MACs: (2*(expand*C//1)*C + kernel**2*(expand*C//1))*N
    Products: products(act, (expand*C//1)*N)
    Source: Yu et al., "MetaFormer baselines for vision", 2022, arXiv 2210.13452.
    timm: timm.models.metaformer.SepConv
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int | float = 2,
        kernel: int = 7,
        act: Act = "star_relu",
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.w1 = nn.Conv2d(dim, hidden, 1, bias=bias, **dd)
        self.act = activation(act, **dd)
        self.dw = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=bias, **dd)
        self.w2 = nn.Conv2d(hidden, dim, 1, bias=bias, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(self.dw(self.act(self.w1(x))))
