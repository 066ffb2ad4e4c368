"""A stage of a pyramid: down-sampling, then blocks of one width."""

from typing import Any

import torch
from timm.models import checkpoint_seq
from torch import Tensor, nn


class Stage(nn.Module):
    """Down-sampling (or none) followed by blocks of one width: (B, C, H, W) -> (B, dim, H', W').

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
        self.down = down or nn.Identity()
        self.blocks = nn.Sequential(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():
            return checkpoint_seq(self.blocks, x)
        return self.blocks(x)
