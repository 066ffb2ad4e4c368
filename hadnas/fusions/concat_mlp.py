"""The control by concatenation: a feed-forward network of both inputs."""

from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least


@register("fusion", family="additive", reads="vector", rules=(at_least("hidden", 1),))
class ConcatMlp(nn.Module):
    """Both inputs concatenated and read by a network with one hidden layer.

    y = P act(U [n(a); n(b)])

    U left_dim + right_dim -> hidden, P hidden -> C, both with bias; n are LayerNorms.

    Shapes: a (B, left_dim), b (B, right_dim) -> (B, C).
    Degree: 1
    Params: (left_dim + right_dim + 1)*hidden + (hidden + 1)*C + 2*(left_dim + right_dim) + weights(act, hidden)
    MACs: (left_dim + right_dim + C)*hidden
    Products: products(act, hidden)
    Source: the control of Ben-younes et al., "BLOCK: bilinear superdiagonal fusion", 2019, arXiv 1902.00038, table 1;
        here with a norm of each input.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        act: Act | None = "relu",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = nn.LayerNorm(left_dim, **dd)
        self.right_norm = nn.LayerNorm(right_dim, **dd)
        self.u = nn.Linear(left_dim + right_dim, hidden, **dd)
        self.act = activation(act, **dd)
        self.out = nn.Linear(hidden, dim, **dd)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out(self.act(self.u(torch.cat((self.left_norm(a), self.right_norm(b)), dim=1))))
