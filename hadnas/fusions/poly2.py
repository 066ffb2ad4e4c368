"""The survey's polynomial of two inputs, by a recursion of products."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, within


@register(
    "fusion",
    family="hadamard",
    reads="vector",
    twin=("interact", "mul", "sum"),
    rules=(at_least("hidden", 1), within("degree", 2, 4)),
)
class Poly2(nn.Module):
    """A polynomial of both inputs of degree 2 to 4: each step multiplies by a sum of projections of both.

    y_1 = (A_1 n(a) + B_1 n(b)) * c_1;  y_k = (A_k n(a) + B_k n(b)) * (S_k y_{k-1} + c_k);  y = P y_degree

    A_k left_dim -> hidden, B_k right_dim -> hidden, S_k hidden -> hidden without bias; c_k vectors of `hidden` numbers,
    1 at the start; P hidden -> C with bias; n are LayerNorms. The additive twin (`sum`) adds the factors of the steps
    k > 1.

    Shapes: a (B, left_dim), b (B, right_dim) -> (B, C).
    Degree: degree if interact == "mul" else 1
    Params: (left_dim + right_dim)*degree*hidden + (degree - 1)*hidden**2 + degree*hidden + (hidden + 1)*C
        + 2*(left_dim + right_dim)
    MACs: (left_dim + right_dim)*degree*hidden + (degree - 1)*hidden**2 + C*hidden
    Products: (degree - 1)*hidden if interact == "mul" else 0
    Source: Chrysos et al., "Conditional generation using polynomial expansions", 2021, arXiv 2104.05077, equation 2
        (the nested form); here with a norm of each input.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        degree: int = 2,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = nn.LayerNorm(left_dim, **dd)
        self.right_norm = nn.LayerNorm(right_dim, **dd)
        self.a = nn.Linear(left_dim, degree * hidden, bias=False, **dd)
        self.b = nn.Linear(right_dim, degree * hidden, bias=False, **dd)
        self.s = nn.ModuleList(nn.Linear(hidden, hidden, bias=False, **dd) for _ in range(degree - 1))
        self.c = nn.Parameter(torch.ones(degree, hidden, **dd))
        self.out = nn.Linear(hidden, dim, **dd)
        self.degree = degree
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        steps = (self.a(self.left_norm(a)) + self.b(self.right_norm(b))).chunk(self.degree, dim=1)
        y = steps[0] * self.c[0]
        for k, s in enumerate(self.s, 1):
            other = s(y) + self.c[k]
            y = steps[k] * other if self.multiply else steps[k] + other
        return self.out(y)
