"""Convolution, norm and activation: the stem and the downsampling between stages."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least


def pixels(kernel: int, stride: int, padding: int | None) -> int:
    """The given padding; for None kernel // 2 if the kernel is larger than its stride, else 0."""
    if padding is not None:
        return padding
    return kernel // 2 if kernel > stride else 0


def resize(size: int, values: Any) -> int:
    """The resolution after the convolution."""
    padding = pixels(values["kernel"], values["stride"], values["padding"])
    return int((size + 2 * padding - values["kernel"]) // values["stride"] + 1)


@register(
    "stem",
    "down",
    resize=resize,
    rules=(at_least("kernel", 1), at_least("stride", 1), at_least("padding", 0)),
    unused=lambda v: ("padding",) if v["padding"] == pixels(v["kernel"], v["stride"], None) else (),
)
class ConvNorm(nn.Module):
    """Convolution, norm, activation; the stem and the downsampling between stages.

    y = act(norm(conv(pre_norm(x))))

    `padding` is in pixels; with None a kernel larger than its stride is padded by kernel // 2, a smaller one, which
    cuts patches, is not padded. In the formulas C, H and W are those of the output.

    Shapes: (B, in_dim, H, W) -> (B, dim, H', W'), H' = (H + 2p - kernel) // stride + 1.
    Degree: 1
    Params: kernel**2*in_dim*C + (C if bias else 0) + weights(pre_norm, in_dim) + weights(norm, C) + weights(act, C)
    MACs: kernel**2*in_dim*C*H*W
    Products: products(act, C*H*W)
    Source: Ioffe and Szegedy, "Batch normalization", 2015, arXiv 1502.03167, section 3.2 (a norm between convolution
        and activation).
    timm: timm.layers.ConvNormAct
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        kernel: int = 3,
        stride: int = 2,
        padding: int | None = None,
        bias: bool = True,
        pre_norm: Norm | None = None,
        norm: Norm | None = "batchnorm2d",
        act: Act | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.pre_norm = normalisation(pre_norm, in_dim, **dd)
        self.conv = nn.Conv2d(in_dim, dim, kernel, stride, pixels(kernel, stride, padding), bias=bias, **dd)
        self.norm = normalisation(norm, dim, **dd)
        self.act = activation(act, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(self.pre_norm(x))))
