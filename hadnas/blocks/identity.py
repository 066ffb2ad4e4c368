"""The identity: a residual node without a block, the control for every other block."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.registry import block


@block(family="additive")
class Identity(nn.Module):
    """The identity: returns its input.

    y = x

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 0
    MACs: 0
    Products: 0
    Source: He et al., "Identity mappings in deep residual networks", 2016, arXiv 1603.05027, equation 3.
    """

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x
