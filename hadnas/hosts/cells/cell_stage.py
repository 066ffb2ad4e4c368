"""A stage of cells: both maps made smaller, then cells of one width."""

from typing import Any

import torch
from timm.models import checkpoint
from torch import Tensor, nn


class CellStage(nn.Module):
    """Two down-samplings (or none), then cells of one width: two maps (B, C, H, W) -> two maps (B, dim, H', W').

    The outputs of the last two cells enter and leave, the older one first. `reduction` is the factor by which the input
    image is larger than the stage's maps.
    """

    def __init__(
        self,
        *,
        dim: int,
        reduction: int,
        down: nn.Module | None,
        down_older: nn.Module | None,
        blocks: list[nn.Module],
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.reduction = reduction
        self.down = down or nn.Identity()
        self.down_older = down_older or nn.Identity()
        self.blocks = nn.ModuleList(blocks)
        self.grad_checkpointing = False

    def forward(self, older: Tensor, newer: Tensor) -> tuple[Tensor, Tensor]:
        older, newer = self.down_older(older), self.down(newer)
        for cell in self.blocks:
            if self.grad_checkpointing and not torch.jit.is_scripting():
                older, newer = newer, checkpoint(cell, older, newer)
            else:
                older, newer = newer, cell(older, newer)
        return older, newer
