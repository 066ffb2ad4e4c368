"""The second-order form of a linear map or a convolution."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least
from hadnas.hosts.graft.wrapper import Wrapper


@register(
    "graft",
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(at_least("rank", 1),),
    kinds=("linear", "conv"),
)
class SecondOrder(Wrapper):
    """A linear map or convolution plus the product of two others, scaled by a learned alpha.

    y = W x + alpha * (A x * B x)

    W the module at the site. A and B have its form, without a bias: of the given `rank`, as a map to `rank` channels
    of W's kernel, then a pointwise one; for None as W, its groups included. At alpha = 0 the network computes what it
    did before. The additive twin (`sum`) has A x + B x in place of the product.

    Shapes: those of W.
    Degree: 2 if interact == "mul", else 1.
    Source: QuadEnhancer, 2025, arXiv 2510.03276, with A and B of low rank; alpha = 0 at the start.
    """

    alpha: nn.Parameter

    def __init__(
        self,
        parent: nn.Module,
        *,
        alpha: float = 0.0,
        rank: int | None = 4,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(parent, alpha=nn.Parameter(torch.full((), alpha, device=device, dtype=dtype)))
        self.a = like(parent, rank, device=device, dtype=dtype)
        self.b = like(parent, rank, device=device, dtype=dtype)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        return self.parent(x) + self.alpha * (a * b if self.multiply else a + b)


def like(layer: nn.Module, rank: int | None, **dd: Any) -> nn.Module:
    """A map of the form of a linear layer or convolution, of a rank or, for None, with its groups."""
    if isinstance(layer, nn.Linear):
        dim, out = layer.in_features, layer.out_features
        if rank is None:
            return nn.Linear(dim, out, bias=False, **dd)
        return nn.Sequential(nn.Linear(dim, rank, bias=False, **dd), nn.Linear(rank, out, bias=False, **dd))
    assert isinstance(layer, nn.Conv2d)
    dim, out, groups = layer.in_channels, layer.out_channels, layer.groups if rank is None else 1
    convolution: Any = type(layer)  # nn.Conv2d, or one that pads as the image needs
    first: nn.Module = convolution(
        dim,
        rank or out,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=groups,
        bias=False,
        **dd,
    )
    return first if rank is None else nn.Sequential(first, nn.Conv2d(rank, out, 1, bias=False, **dd))
