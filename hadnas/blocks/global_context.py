"""The global context gate: channels scaled, or shifted, by an attended mean of the map."""

from typing import Any, Literal

from timm.layers import GlobalContext as ContextModule
from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import require


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        require(
            lambda v: 1 <= v["reduction"] <= v["dim"] // 2,
            "reduction = {reduction} must be between 1 and half of dim = {dim}: its LayerNorm needs two channels",
        ),
    ),
    idle=lambda v: ("context.conv_attn.bias",),  # adds one number to all positions, which the softmax cancels
)
class GlobalContext(nn.Module):
    """Channel gate (`mul`) or shift (`sum`) from a softmax-weighted mean over positions.

    c = sum_i softmax_i(k . x_i) x_i;  t = W2 relu(LN(W1 c));  y = x * sigmoid(t)  or  y = x + t

    k one pointwise filter C -> 1 (with a bias); W1, W2 pointwise C -> C // reduction -> C; LN over channels.

    Shapes: (B, C, H, W) -> (B, C, H, W); 2 reduction <= C.
    Degree: (3 if interact == "mul" else 2) (nominal)
    Params: C + 1 + 2*C*(C//reduction) + 3*(C//reduction) + C
    MACs: C*N + (C*N if N > 1 else 0) + 2*C*(C//reduction)
    Products: (C*N if interact == "mul" else 0) + (C if N == 1 else 0)
    Source: Cao et al., "GCNet", 2019, arXiv 1904.11492, which adds; the product is timm's form.
    timm: timm.layers.GlobalContext
    """

    def __init__(
        self,
        dim: int,
        *,
        reduction: int = 4,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        multiply = interact == "mul"
        self.context = ContextModule(
            dim, fuse_scale=multiply, fuse_add=not multiply, rd_channels=dim // reduction, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.context(x)
