"""What stands at a site: around the module that was there, or in its place."""

from typing import Any, Literal

import torch
from torch import Tensor, nn


class Wrapper(nn.Module):
    """A module around the parent's module of a site, with all its attributes, as timm reads some of them.

    `parameters` are its own, by name; the parent's module may have attributes of these names, as nfnet's `alpha`.
    """

    def __init__(self, parent: nn.Module, **parameters: nn.Parameter) -> None:
        super().__init__()
        for name, value in parameters.items():  # before the module is there, as torch refuses a name that it has
            self.register_parameter(name, value)
        self.parent = parent

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "parent":  # while a copy is made
                raise
            return getattr(self.parent, name)


class Replacement(nn.Module):
    """A block on maps (B, C, H, W) at a site of another layout, or one that is called with further arguments.

    Tokens in front of those of the map pass unchanged. Raises ValueError for a mask, which a block cannot follow, and
    for tokens of another grid; with `positions`, further tensors embed positions, which a block knows by itself.

    Shapes: that of the layout: (B, C, H, W) "nchw", (B, H, W, C) "nhwc", (B, N, C) "tokens", (B, C, N) "channels".
    """

    def __init__(
        self,
        *,
        block: nn.Module,
        layout: Literal["nchw", "nhwc", "tokens", "channels"],
        grid: tuple[int, int] = (1, 1),
        prefix: int = 0,
        positions: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.block = block
        self.layout = layout
        self.grid = grid
        self.prefix = prefix
        self.positions = positions

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        further = [
            part for one in (*args, *kwargs.values()) for part in (one if isinstance(one, tuple | list) else [one])
        ]  # a size of the image, as a tuple, says nothing new
        if any(one is True or (isinstance(one, Tensor) and not self.positions) for one in further):
            raise ValueError("found a mask or another tensor; at this site no further tensors are allowed")
        if self.layout == "nchw":
            return self.block(x)
        if self.layout == "nhwc":
            return self.block(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x if self.layout == "channels" else x.transpose(1, 2)
        first, x = x[:, :, : self.prefix], x[:, :, self.prefix :]
        if x.shape[2] != self.grid[0] * self.grid[1]:
            raise ValueError(
                f"found {x.shape[2]} tokens of a map; allowed are those of {self.grid[0]} x {self.grid[1]}"
            )
        y = torch.cat([first, self.block(torch.unflatten(x, 2, self.grid)).flatten(2)], 2)
        return y if self.layout == "channels" else y.transpose(1, 2)
