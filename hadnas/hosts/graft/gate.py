"""A gate, or any block, behind a module, started as the identity."""

from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register
from hadnas.hosts.graft.wrapper import Wrapper


@register("graft", children={"block": "block"})
class Gate(Wrapper):
    """A module's output, moved by a learned alpha towards what a block makes of it.

    y = f(x);  z = y + alpha * (G(y) - y)

    f the module at the site, G the block. For a gate such as `se`, G(y) = y * s(y), that is y * (1 + alpha * (s - 1)):
    a gate that is 1 at alpha = 0, where the network computes what it did before.

    Shapes: those of f, which are equal.
    Source: for `se` Hu et al., "Squeeze-and-excitation networks", 2017, arXiv 1709.01507; alpha = 0 at the start as in
        Bachlechner et al., "ReZero is all you need", 2020, arXiv 2003.04887.
    """

    alpha: nn.Parameter

    def __init__(
        self, parent: nn.Module, *, block: nn.Module, alpha: float = 0.0, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(parent, alpha=nn.Parameter(torch.full((), alpha, device=device, dtype=dtype)))
        self.block = block

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y: Tensor = self.parent(x, *args, **kwargs)
        return y + self.alpha * (self.block(y) - y)
