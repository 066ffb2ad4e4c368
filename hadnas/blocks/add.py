"""The additive merge."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.registry import register


@register("merge", family="additive")
class Add(nn.Module):
    """Sum of skip and branch, the residual of every common backbone.

    y = a + b

    Shapes: a, b (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 0
    MACs: 0
    Products: 0
    Source: He et al., "Deep residual learning for image recognition", 2015, arXiv 1512.03385, eq. 1.
    """

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b
