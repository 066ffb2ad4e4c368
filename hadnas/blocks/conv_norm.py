"""Convolution, norm and activation: the stem and the step between stages."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least


def same_or_patch(size: int, values: Any) -> int:
    """The resolution after a convolution that pads by kernel // 2 where kernel > stride, and not at all otherwise."""
    kernel, stride = values["kernel"], values["stride"]
    padding = kernel // 2 if kernel > stride else 0
    return int((size + 2 * padding - kernel) // stride + 1)


@register("stem", "down", resize=same_or_patch, rules=(at_least("kernel", 1), at_least("stride", 1)))
class ConvNorm(nn.Module):
    """Convolution, norm, activation.

    y = act(norm(conv(x)))

    A kernel larger than its stride overlaps and is padded by kernel // 2; one no larger than its stride cuts patches
    and is not padded. In the formulas C, H and W are those of the output.

    Shapes: (B, in_dim, H, W) -> (B, dim, H', W'), H' = (H + 2p - kernel) // stride + 1.
    Degree: 1
    MACs: kernel**2*in_dim*C*H*W
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        kernel: int = 3,
        stride: int = 2,
        norm: Norm | None = "batchnorm2d",
        act: Act | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        padding = kernel // 2 if kernel > stride else 0
        self.conv = nn.Conv2d(in_dim, dim, kernel, stride, padding, **dd)
        self.norm = normalisation(norm, dim, **dd)
        self.act = activation(act, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))
