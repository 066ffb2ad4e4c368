"""Depthwise separable convolution: the cheap down-sampling between stages."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Norm, normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, odd


@register(
    "down",
    resize=lambda size, values: (size - 1) // values["stride"] + 1,
    rules=(odd("kernel"), at_least("stride", 1)),
)
class SeparableConv(nn.Module):
    """Depthwise convolution, pointwise convolution, norm; a down-sampling between stages.

    y = norm(W DW(x))

    DW depthwise k x k with the stride, padded by kernel // 2, W pointwise in_dim -> C; without biases. In the formulas
    C, H and W are those of the output.

    Shapes: (B, in_dim, H, W) -> (B, dim, H', W'), H' = (H - 1) // stride + 1.
    Degree: 1
    Params: (kernel**2 + C)*in_dim + weights(norm, C)
    MACs: (kernel**2 + C)*in_dim*H*W
    Products: 0
    Source: Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017,
        arXiv 1704.04861, section 3.1, without the activations and the norm in between.
    timm: timm.layers.SeparableConvNormAct
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        kernel: int = 3,
        stride: int = 2,
        norm: Norm | None = "batchnorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.dw = nn.Conv2d(in_dim, in_dim, kernel, stride, kernel // 2, groups=in_dim, bias=False, **dd)
        self.w = nn.Conv2d(in_dim, dim, 1, bias=False, **dd)
        self.norm = normalisation(norm, dim, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.w(self.dw(x)))
