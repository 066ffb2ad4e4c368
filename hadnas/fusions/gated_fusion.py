"""The gated multimodal unit: a gate of both inputs interpolates between their projections."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least


@register(
    "fusion",
    family="hadamard",
    reads="vector",
    twin=("interact", "mul", "sum"),
    rules=(at_least("hidden", 1),),
)
class GatedFusion(nn.Module):
    """A gate of both inputs interpolates between a projection of each.

    g = sigmoid(G [n(a); n(b)]);  y = P (g * act(U n(a)) + (1 - g) * act(V n(b)))

    U left_dim -> hidden, V right_dim -> hidden, G left_dim + right_dim -> hidden, P hidden -> C, all with bias; n are
    LayerNorms. The additive twin (`sum`) adds gate and projections.

    Shapes: a (B, left_dim), b (B, right_dim) -> (B, C).
    Degree: 2 if interact == "mul" else 1
    Params: (2*left_dim + 2*right_dim + 3)*hidden + (hidden + 1)*C + 2*(left_dim + right_dim) + weights(act, hidden)
    MACs: (2*left_dim + 2*right_dim + C)*hidden
    Products: (hidden if interact == "mul" else 0) + products(act, 2*hidden)
    Source: Arevalo et al., "Gated multimodal units for information fusion", 2017, arXiv 1702.01992, section 3.1; here
        with a norm of each input.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        act: Act | None = "tanh",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = nn.LayerNorm(left_dim, **dd)
        self.right_norm = nn.LayerNorm(right_dim, **dd)
        self.u = nn.Linear(left_dim, hidden, **dd)
        self.v = nn.Linear(right_dim, hidden, **dd)
        self.g = nn.Linear(left_dim + right_dim, hidden, **dd)
        self.act = activation(act, **dd)
        self.sigmoid = activation("sigmoid", **dd)
        self.out = nn.Linear(hidden, dim, **dd)
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.left_norm(a), self.right_norm(b)
        gate = self.sigmoid(self.g(torch.cat((a, b), dim=1)))
        a, b = self.act(self.u(a)), self.act(self.v(b))
        return self.out(b + gate * (a - b) if self.multiply else gate + a + b)  # one product instead of two
