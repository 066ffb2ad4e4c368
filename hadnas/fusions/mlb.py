"""MLB: the product of a projection of each input, a bilinear form of low rank."""

from typing import Any, Literal

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
class Mlb(nn.Module):
    """The element-wise product of a projection of each input.

    y = P (act(U n(a)) * act(V n(b)))

    U left_dim -> hidden, V right_dim -> hidden, P hidden -> C, all with bias; n are LayerNorms. Without biases and with
    `act` None it is the bilinear form y_o = n(a)^T W_o n(b), W_o = sum_m P_om U_m V_m^T, of rank `hidden`. The additive
    twin (`sum`) adds the projections.

    Shapes: a (B, left_dim), b (B, right_dim) -> (B, C).
    Degree: 2 if interact == "mul" else 1
    Params: (left_dim + right_dim + 2)*hidden + (hidden + 1)*C + 2*(left_dim + right_dim) + weights(act, hidden)
    MACs: (left_dim + right_dim + C)*hidden
    Products: (hidden if interact == "mul" else 0) + products(act, 2*hidden)
    Source: Kim et al., "Hadamard product for low-rank bilinear pooling", 2016, arXiv 1610.04325, section 3; here with a
        norm of each input.
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
        self.act = activation(act, **dd)
        self.out = nn.Linear(hidden, dim, **dd)
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.act(self.u(self.left_norm(a))), self.act(self.v(self.right_norm(b)))
        return self.out(a * b if self.multiply else a + b)
