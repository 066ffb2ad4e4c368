"""Another activation, or none."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import register


@register("graft", name="act", kinds=("activation",))
class OtherActivation(nn.Module):
    """Another activation in place of one of the network; none for None.

    y = act(x)

    Shapes: any.
    """

    def __init__(self, *, act: Act | None = "gelu", device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.act = activation(act, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(x)
        return y
