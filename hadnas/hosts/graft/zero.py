"""Nothing in place of a branch."""

from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register


@register("graft")
class Zero(nn.Module):
    """Zeros in place of a module inside a block: the branch it is in adds nothing.

    y = 0

    Shapes: any, equal.
    """

    def __init__(self, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return torch.zeros_like(x)
