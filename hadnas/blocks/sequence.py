"""Several blocks in a row inside one residual node, such as a gate after a block."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.registry import register


@register("block", children={"blocks": "block"})
class Sequence(nn.Module):
    """Several blocks as one: merged with the skip once, after the last.

    y = blocks[-1](... blocks[1](blocks[0](x)))

    The lines below are without the blocks; degrees multiply. Without blocks it is the identity.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 0
    MACs: 0
    Products: 0
    Source: Hu et al., "Squeeze-and-excitation networks", 2017, arXiv 1709.01507, figure 3, for a gate at the end of a
        residual branch.
    """

    def __init__(self, dim: int, *, blocks: list[nn.Module], device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)
