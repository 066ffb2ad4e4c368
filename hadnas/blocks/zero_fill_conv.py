"""The plain convolution of a map with holes, in which it reads zeros: the control of the partial one."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.masks import MaskedNorm, masked_norm, windows, without_holes
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, odd


@register("masked", family="convolution", resize=windows, rules=(odd("kernel"), at_least("stride", 1)))
class ZeroFillConv(nn.Module):
    """Convolution of a map with zeros in its holes; its mask is carried on as that of a partial convolution.

    y = act(norm(W (m * x) + b)) where n > 0, else 0;  m' = 1 where n > 0, else 0

    W k x k, in_dim -> C; n is the number of valid pixels in the window. With all pixels valid it is a convolution. H
    and W are those of the output.

    Shapes: x (B, in_dim, H, W), m (B, 1, H, W) -> y (B, C, H', W'), m' (B, 1, H', W'), H' = (H - 1) // stride + 1.
    Degree: 1
    Params: kernel**2*in_dim*C + C + weights(norm, C) + weights(act, C)
    MACs: kernel**2*in_dim*C*H*W
    Products: products(act, C*H*W)
    Source: Liu et al., "Image inpainting for irregular holes using partial convolutions", 2018, arXiv 1804.07723,
        section 4, the convolution that it is compared with; here with its mask.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        norm: MaskedNorm | None = "batchnorm2d",
        act: Act | None = "relu",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.conv = nn.Conv2d(in_dim, dim, kernel, stride, kernel // 2, **dd)
        self.any = nn.MaxPool2d(kernel, stride, kernel // 2)
        self.norm = masked_norm(norm, dim, **dd)
        self.act = activation(act, **dd)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y, after = self.conv(without_holes(x, mask)), self.any(mask)
        y = y if self.norm is None else self.norm(y, after)
        return without_holes(self.act(y), after), after
