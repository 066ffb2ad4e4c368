"""Linear cross-attention: cross-attention without the softmax, sums of products of both maps alone."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Norm, normalisation
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
class LinearCrossAttention(nn.Module):
    """Every position of the left map reads the right one, by the mean product of its keys and values.

    r_i = (1 / M) sum_j (q_i . k_j / sqrt(d)) v_j in each head;  y = P (U n(a) + r)

    U left_dim -> hidden, q = Q n(a), [k; v] = K n(b), P hidden -> C, pointwise; U, v and P with bias; d is hidden /
    heads; n are norms over the channels of a position, with `norm` None the identity: then y is a polynomial of both
    maps, and their scale matters. Keys and values are multiplied first, so the cost is linear in both numbers of
    positions. It is `cross_attention` with the mean in place of the softmax, of equal parameters; with heads = hidden
    it is Hydra's form, q * mean(k * v). There is no position encoding.

    Shapes: a (B, left_dim, H, W), b (B, right_dim, H', W') -> (B, C, H, W); heads divides hidden.
    Degree: 3
    Params: (2*left_dim + 1)*hidden + (2*right_dim + 1)*hidden + (hidden + 1)*C + weights(norm, left_dim)
        + weights(norm, right_dim)
    MACs: (2*left_dim + C)*hidden*N + 2*right_dim*hidden*M + hidden**2//heads*M + (hidden**2//heads*N if heads < hidden
        else 0)
    Products: hidden*N if heads == hidden else 0
    Source: von Oswald et al., "Transformers learn in-context by gradient descent", 2023, arXiv 2212.07677, equation 3,
        with keys and values of the other input; here the mean over positions, divided by sqrt(d), and norms of both.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        heads: int = 1,
        norm: Norm | None = "layernorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = normalisation(norm, left_dim, **dd)
        self.right_norm = normalisation(norm, right_dim, **dd)
        self.u = nn.Conv2d(left_dim, hidden, 1, **dd)
        self.q = nn.Conv2d(left_dim, hidden, 1, bias=False, **dd)
        self.k = nn.Conv2d(right_dim, hidden, 1, bias=False, **dd)
        self.v = nn.Conv2d(right_dim, hidden, 1, **dd)
        self.out = nn.Conv2d(hidden, dim, 1, **dd)
        self.heads = heads
        self.scale = (hidden // heads) ** -0.5

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.left_norm(a), self.right_norm(b)
        q, k, v = (x.flatten(2).unflatten(1, (self.heads, -1)) for x in (self.q(a), self.k(b), self.v(b)))
        u = self.u(a)
        read = v @ k.mT * (self.scale / k.shape[3])
        return self.out(u + (read @ q).reshape(u.shape))
