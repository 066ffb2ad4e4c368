"""SwiftFormer's efficient additive attention: one global query, multiplied into every key."""

from typing import Any

from timm.models.swiftformer import EfficientAdditiveAttention
from torch import Tensor, nn

from hadnas.blocks.registry import block


@block(family="attention")
class AdditiveAttention(nn.Module):
    """Attention through a learned mean of the queries.

    y = W2(W1(g * k) + q),  g = sum_i a_i q_i,  a = normalise_i(w . q_i / sqrt(C)),  q, k = normalise_c(Wq x), (Wk x)

    Wq, Wk, W1, W2 pointwise C -> C; w a learned vector; normalise_c divides by the L2 norm over channels, normalise_i
    by that over positions.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 3 (nominal)
    Params: 4*C**2 + 5*C
    MACs: 4*C**2*N + C*N
    Products: 2*C*N
    Source: Shaker et al., "SwiftFormer", 2023, arXiv 2303.15446; the code normalises where the paper does not say so,
        and so does this.
    """

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.attn = EfficientAdditiveAttention(dim, dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x)
