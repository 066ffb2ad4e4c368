"""MobileViTv2's separable self-attention: one attended context vector, multiplied into every value."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import activation
from hadnas.blocks.registry import block


@block(family="attention", twin=("interact", "mul", "sum"))
class LinearSelfAttention(nn.Module):
    """Separable self-attention: a softmax-weighted mean of the keys gates the values.

    y = W'(relu(v) * sum_i softmax_i(q_i) k_i),  [q; k; v] = W x

    W pointwise C -> 1 + 2 C: one score q per position, keys and values; W' pointwise C -> C. The additive twin (`sum`)
    adds the mean of the keys to relu(v).

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: (3 if interact == "mul" else 2) (nominal)
    Params: 3*C**2 + 4*C + 1
    MACs: (3*C**2 + C)*N
    Products: (2 if interact == "mul" else 1)*C*N
    Source: Mehta and Rastegari, "Separable self-attention for mobile vision transformers", 2022, arXiv 2206.02680;
        here over all positions of the map, not over the same pixel of each patch.
    timm: timm.models.mobilevit.LinearSelfAttention
    """

    def __init__(
        self, dim: int, *, interact: Literal["mul", "sum"] = "mul", device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.splits = (1, dim, dim)
        self.qkv = nn.Conv2d(dim, 1 + 2 * dim, 1, **dd)
        self.act = activation("relu", **dd)
        self.project = nn.Conv2d(dim, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).split(self.splits, dim=1)
        weights = q.flatten(2).softmax(dim=2).view_as(q)
        context = (k * weights).sum((2, 3), keepdim=True)
        v = self.act(v)
        return self.project(v * context if self.multiply else v + context)
