"""Cross-attention: every position of one map reads the positions of the other."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, require


@register(
    "fusion",
    family="attention",
    reads="map",
    rules=(
        at_least("hidden", 1),
        require(
            lambda v: v["heads"] >= 1 and v["hidden"] % v["heads"] == 0,
            "heads = {heads} must divide hidden = {hidden}",
        ),
    ),
)
class CrossAttention(nn.Module):
    """Every position of the left map attends to the positions of the right one.

    r_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j in each head;  y = P (U n(a) + r)

    U left_dim -> hidden, q = Q n(a), [k; v] = K n(b), P hidden -> C, pointwise; U, v and P with bias; d is hidden /
    heads; n are norms over the channels of a position. There is no position encoding.

    Shapes: a (B, left_dim, H, W), b (B, right_dim, H', W') -> (B, C, H, W); heads divides hidden.
    Degree: 3 (nominal)
    Params: (2*left_dim + 1)*hidden + (2*right_dim + 1)*hidden + (hidden + 1)*C + 2*(left_dim + right_dim)
    MACs: (2*left_dim + C)*hidden*N + 2*right_dim*hidden*M + 2*hidden*N*M
    Products: 0
    Source: Vaswani et al., "Attention is all you need", 2017, arXiv 1706.03762, section 3.2.3, with keys and values of
        the other input.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        heads: int = 1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = normalisation("layernorm2d", left_dim, **dd)
        self.right_norm = normalisation("layernorm2d", right_dim, **dd)
        self.u = nn.Conv2d(left_dim, hidden, 1, **dd)
        self.q = nn.Conv2d(left_dim, hidden, 1, bias=False, **dd)
        self.k = nn.Conv2d(right_dim, hidden, 1, bias=False, **dd)
        self.v = nn.Conv2d(right_dim, hidden, 1, **dd)
        self.out = nn.Conv2d(hidden, dim, 1, **dd)
        self.heads = heads

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.left_norm(a), self.right_norm(b)
        q, k, v = (x.flatten(2).unflatten(1, (self.heads, -1)).mT for x in (self.q(a), self.k(b), self.v(b)))
        u = self.u(a)
        return self.out(u + F.scaled_dot_product_attention(q, k, v).mT.reshape(u.shape))
