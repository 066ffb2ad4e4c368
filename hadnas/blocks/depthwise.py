"""The depthwise separable convolution: the cheapest convolutional control."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd


@block(family="convolution", rules=(odd("kernel"),))
class Depthwise(nn.Module):
    """Depthwise convolution, then pointwise convolution, each with its norm.

    y = norm(W act(norm(DW x)))

    DW depthwise k x k; W pointwise C -> C; both without bias.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: C**2 + kernel**2*C + 2*weights(norm, C) + weights(act, C)
    MACs: (C**2 + kernel**2*C)*N
    Products: products(act, C*N)
    Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861, figure 3; without the second activation, as the
        separable convolutions of the EfficientNets.
    timm: timm.models._efficientnet_blocks.DepthwiseSeparableConv
    """

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 3,
        act: Act | None = "relu6",
        norm: Norm | None = "batchnorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.dw = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False, **dd)
        self.norm1 = normalisation(norm, dim, **dd)
        self.act = activation(act, **dd)
        self.w = nn.Conv2d(dim, dim, 1, bias=False, **dd)
        self.norm2 = normalisation(norm, dim, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm2(self.w(self.act(self.norm1(self.dw(x)))))
