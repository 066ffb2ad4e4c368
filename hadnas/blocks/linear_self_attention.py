"""MobileViTv2's separable self-attention: one attended context vector, multiplied into every value."""

from typing import Any

from timm.models.mobilevit import LinearSelfAttention as SeparableAttention
from torch import Tensor, nn

from hadnas.blocks.registry import block


@block(family="attention")
class LinearSelfAttention(nn.Module):
    """Separable self-attention: a softmax-weighted mean of the keys gates the values.

    y = W'(relu(v) * sum_i softmax_i(q_i) k_i),  [q; k; v] = W x

    W pointwise C -> 1 + 2 C: one score q per position, keys and values; W' pointwise C -> C.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 3 (nominal)
    Params: 3*C**2 + 4*C + 1
    MACs: (3*C**2 + C)*N
    Products: 2*C*N
    Source: Mehta and Rastegari, "Separable self-attention for mobile vision transformers", 2022, arXiv 2206.02680;
        over all positions of the map, not over the same pixel of each patch.
    """

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.attn = SeparableAttention(dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x.flatten(2).unsqueeze(2)).reshape(x.shape)
