"""SwiftFormer's efficient additive attention: one global query, multiplied into every key."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least


@block(family="attention", twin=("interact", "mul", "sum"), rules=(at_least("heads", 1),))
class AdditiveAttention(nn.Module):
    """Attention through a learned mean of the queries.

    y = W2(W1(g * k) + q),  g = sum_i a_i q_i,  a = normalise_i(w . q_i / sqrt(C)),  q, k = normalise_c(Wq x), (Wk x)

    Wq, Wk pointwise C -> h C, W1 h C -> h C, W2 h C -> C; w a learned vector; h = `heads`, which widen the maps and
    share one score, as in the authors' code; normalise_c divides by the L2 norm over channels, normalise_i by that
    over positions. The additive twin (`sum`) has g + k in place of g * k.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: (3 if interact == "mul" else 2) (nominal)
    Params: (heads**2 + 3*heads)*C**2 + (4*heads + 1)*C
    MACs: ((heads**2 + 3*heads)*C**2 + heads*C)*N
    Products: (2 if interact == "mul" else 1)*heads*C*N
    Source: Shaker et al., "SwiftFormer", 2023, arXiv 2303.15446; the normalisations are those of the authors' code,
        which the paper does not state.
    timm: timm.models.swiftformer.EfficientAdditiveAttention
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 1,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = heads * dim
        self.q = nn.Linear(dim, hidden, **dd)
        self.k = nn.Linear(dim, hidden, **dd)
        self.w = nn.Parameter(torch.randn(hidden, 1, **dd))
        self.w1 = nn.Linear(hidden, hidden, **dd)
        self.w2 = nn.Linear(hidden, dim, **dd)
        self.scale = dim**-0.5
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        q, k = F.normalize(self.q(tokens), dim=2), F.normalize(self.k(tokens), dim=2)
        g = (F.normalize(q @ self.w * self.scale, dim=1) * q).sum(1, keepdim=True)
        mixed = self.w1(g * k if self.multiply else g + k) + q
        return self.w2(mixed).transpose(1, 2).reshape(x.shape)
