"""Spatial conditioning (SPADE): one map scales and shifts the other at every position."""

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import activation, normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, odd


@register(
    "fusion",
    family="hadamard",
    reads="map",
    twin=("interact", "mul", "sum"),
    rules=(at_least("hidden", 1), at_least("shared", 1), odd("kernel")),
)
class SpatialConditioning(nn.Module):
    """The right map, resized to the left one, scales and shifts its channels at every position.

    [g; s] = F relu(G resize(n(b)));  y = P ((1 + g) * m(U n(a)) + s)

    U pointwise left_dim -> hidden; G k x k right_dim -> shared, F k x k shared -> 2 hidden; P pointwise hidden -> C,
    all with bias; resize takes the nearest position; n are norms over the channels of a position, m is one over the
    channels and positions of an image, without weights. At g = s = 0 the right input has no effect. The additive twin
    (`sum`) is P (g + m(U n(a)) + s).

    Shapes: a (B, left_dim, H, W), b (B, right_dim, H', W') -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: (left_dim + 1)*hidden + (kernel**2*right_dim + 1)*shared + 2*(kernel**2*shared + 1)*hidden + (hidden + 1)*C
        + 2*(left_dim + right_dim)
    MACs: ((left_dim + C)*hidden + kernel**2*(right_dim + 2*hidden)*shared)*N
    Products: hidden*N if interact == "mul" else 0
    Source: Park et al., "Semantic image synthesis with spatially-adaptive normalization", 2019, arXiv 1903.07291,
        equation 1; here m is over channels and positions, as no batch is needed.
    """

    def __init__(
        self,
        left_dim: int,
        right_dim: int,
        dim: int,
        *,
        hidden: int = 64,
        shared: int = 8,
        kernel: int = 3,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.left_norm = normalisation("layernorm2d", left_dim, **dd)
        self.right_norm = normalisation("layernorm2d", right_dim, **dd)
        self.u = nn.Conv2d(left_dim, hidden, 1, **dd)
        self.norm = nn.GroupNorm(1, hidden, affine=False, **dd)
        self.g = nn.Conv2d(right_dim, shared, kernel, padding=kernel // 2, **dd)
        self.act = activation("relu", **dd)
        self.f = nn.Conv2d(shared, 2 * hidden, kernel, padding=kernel // 2, **dd)
        self.out = nn.Conv2d(hidden, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a = self.norm(self.u(self.left_norm(a)))
        b = F.interpolate(self.right_norm(b), size=a.shape[2:], mode="nearest")
        scale, shift = self.f(self.act(self.g(b))).chunk(2, dim=1)
        return self.out((a * (1 + scale) if self.multiply else a + scale) + shift)
