"""The product merge: a continuous path from the additive network to the Hadamard one."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Norm, normalisation
from hadnas.blocks.registry import register


@register("merge", family="hadamard", twin=("interact", "mul", "sum"))
class Product(nn.Module):
    """Sum of skip and branch plus their element-wise product, scaled by a learned alpha.

    y = a + b + alpha * norm(P(a * b))

    P is a pointwise convolution (`project`) or the identity. At alpha = 0 this is the additive merge.
    The additive twin (`sum`) has a + b in place of a * b.

    Shapes: a, b (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 1 + (C**2 if project else 0) + weights(norm, C)
    MACs: C**2*H*W if project else 0
    Products: C*H*W if interact == "mul" else 0
    Source: Chrysos et al., "Deep polynomial neural networks", 2020, arXiv 2006.13026 (the residual of Pi-nets), and
        Chrysos et al., "Regularization of polynomial networks for image recognition", 2023, arXiv 2303.13896 (alpha = 0
        at the start).
    """

    def __init__(
        self,
        dim: int,
        *,
        alpha: float = 0.0,
        project: bool = False,
        norm: Norm | None = None,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.alpha = nn.Parameter(torch.full((), alpha, **dd))
        self.project = nn.Conv2d(dim, dim, 1, bias=False, **dd) if project else nn.Identity()
        self.norm = normalisation(norm, dim, **dd)
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        joined = a * b if self.multiply else a + b
        return a + b + self.alpha * self.norm(self.project(joined))
