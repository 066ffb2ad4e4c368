"""iFormer's single-head modulation attention: attention times a gate."""

from typing import Any

from timm.models.iformer import SHMA
from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import require


@block(
    family="attention",
    rules=(require(lambda v: 1 <= v["reduction"] <= v["dim"], "reduction = {reduction} must be between 1 and {dim}"),),
)
class SingleHeadModulation(nn.Module):
    """One attention head, multiplied by a gate of the input.

    y = BN(W'(a * g)),  a_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j,  [v; g] = sigmoid(BN(W x))

    q = BN(Wq x), k = BN(Wk x);
    W pointwise C -> 2 C, Wq and Wk C -> d = C // reduction, W' C -> C, without biases. The values pass the sigmoid too.

    Shapes: (B, C, H, W) -> (B, C, H, W); reduction <= C.
    Degree: 4 (nominal)
    Params: 3*C**2 + 2*C*(C//reduction) + 6*C + 4*(C//reduction)
    MACs: (3*C**2 + 2*C*(C//reduction))*N + (C + C//reduction)*N**2
    Products: C*N
    Source: Zheng, "iFormer: integrating ConvNet and transformer for mobile application", 2025, arXiv 2501.15369;
        without windows.
    """

    def __init__(self, dim: int, *, reduction: int = 2, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.attn = SHMA(dim, head_dim_reduction_ratio=reduction, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x)
