"""A stage of a masked pyramid, and a block of a map alone in it."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.masks import without_holes


class OnValid(nn.Module):
    """A block of a map alone, at the valid positions: it reads zeros in the holes, and leaves zeros there.

    y = m * block(x);  m' = m
    """

    def __init__(self, block: nn.Module, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return without_holes(self.block(x), mask), mask


class MaskedStage(nn.Module):
    """Down-sampling (or none) followed by blocks of one width, each from a map and its mask to both.

    `reduction` is the factor by which the input image is larger than the stage's map.
    """

    def __init__(
        self,
        *,
        dim: int,
        reduction: int,
        down: nn.Module | None,
        blocks: list[nn.Module],
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.reduction = reduction
        self.down = down
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.down is not None:
            x, mask = self.down(x, mask)
        for block in self.blocks:
            x, mask = block(x, mask)
        return x, mask
