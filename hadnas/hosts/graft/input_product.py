"""The product of a module's input and output, added to its output."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register
from hadnas.hosts.graft.wrapper import Wrapper


@register("graft", family="hadamard", twin=("interact", "mul", "sum"))
class InputProduct(Wrapper):
    """A module's output plus the product of its input and output, scaled by a learned alpha.

    y = f(x);  z = y + alpha * P(N(x) * y)

    f the module at the site, P a linear map of the channels (`project`) or the identity, N the division by the root
    mean square over the channels (`norm`) or the identity: without it the maps of a trained network grow from product
    to product. At alpha = 0 the network computes what it did before. The additive twin (`sum`) has N(x) + y in place
    of N(x) * y. Where f changes x in place, x is what f leaves.

    Shapes: those of f, which are equal, in any layout with one axis of channels.
    Degree: 1 + that of f if interact == "mul", else that of f.
    Source: the residual of Pi-nets (Chrysos et al., "Deep polynomial neural networks", 2020, arXiv 2006.13026) around
        a trained module; alpha = 0 at the start as in Chrysos et al., 2023, arXiv 2303.13896.
    """

    alpha: nn.Parameter

    def __init__(
        self,
        parent: nn.Module,
        dim: int,
        axis: int,
        *,
        alpha: float = 0.0,
        project: bool = True,
        norm: bool = True,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(parent, alpha=nn.Parameter(torch.full((), alpha, device=device, dtype=dtype)))
        self.project = nn.Linear(dim, dim, bias=False, device=device, dtype=dtype) if project else nn.Identity()
        self.norm = nn.RMSNorm(dim, elementwise_affine=False) if norm else nn.Identity()
        self.axis = axis
        self.multiply = interact == "mul"

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y: Tensor = self.parent(x, *args, **kwargs)
        scaled, last = self.norm(x.movedim(self.axis, -1)), y.movedim(self.axis, -1)
        joined = scaled * last if self.multiply else scaled + last
        return y + self.alpha * self.project(joined).movedim(-1, self.axis)
