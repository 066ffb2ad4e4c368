"""The coordinate attention gate: a gate for each row times a gate for each column."""

from typing import Any

from timm.layers.coord_attn import CoordAttn
from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import require


@block(
    family="hadamard",
    rules=(require(lambda v: 1 <= v["reduction"] <= v["dim"], "reduction = {reduction} must be between 1 and {dim}"),),
)
class CoordAttention(nn.Module):
    """Row and column gates from the means over columns and rows.

    [r; c] = hswish(BN(W1 [mean_w(x); mean_h(x)]));  y = x * sigmoid(Wr r) * sigmoid(Wc c)

    W1 pointwise C -> C // reduction, the same for rows and columns; Wr, Wc back to C; no biases. hswish(h) =
    h relu6(h + 3) / 6.

    Shapes: (B, C, H, W) -> (B, C, H, W); reduction <= C.
    Degree: 3
    Params: 3*C*(C//reduction) + 2*(C//reduction)
    MACs: 2*C*(C//reduction)*(H + W)
    Products: 2*C*N
    Source: Hou et al., "Coordinate attention for efficient mobile network design", 2021, arXiv 2103.02907, equations 4
        to 9.
    timm: timm.layers.coord_attn.CoordAttn
    """

    def __init__(self, dim: int, *, reduction: int = 4, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.attn = CoordAttn(dim, rd_channels=dim // reduction, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x)
