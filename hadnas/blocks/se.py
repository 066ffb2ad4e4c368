"""The squeeze-and-excitation gate: each channel scaled by a function of the means of all channels."""

from typing import Any

from timm.layers import SEModule
from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import require


@block(
    family="hadamard",
    name="se",
    rules=(require(lambda v: 1 <= v["reduction"] <= v["dim"], "reduction = {reduction} must be between 1 and {dim}"),),
)
class SqueezeExcite(nn.Module):
    """Channel gate from the global mean.

    y = x * sigmoid(W2 relu(W1 mean(x)))

    mean over positions; W1, W2 pointwise C -> C // reduction -> C.

    Shapes: (B, C, H, W) -> (B, C, H, W); reduction <= C.
    Degree: 2
    Params: 2*C*(C//reduction) + C//reduction + C
    MACs: 2*C*(C//reduction)
    Products: C*N
    Source: Hu et al., "Squeeze-and-excitation networks", 2017, arXiv 1709.01507, equations 2 to 4; the inner width is
        not rounded.
    timm: timm.layers.SEModule
    """

    def __init__(self, dim: int, *, reduction: int = 4, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.se = SEModule(dim, rd_channels=dim // reduction, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.se(x)
