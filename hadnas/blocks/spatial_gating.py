"""gMLP's spatial gating unit: a gate over all positions, for one fixed resolution."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation, positions
from hadnas.blocks.registry import block
from hadnas.blocks.rules import require


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        require(lambda v: v["expand"] >= 2 and v["expand"] % 2 == 0, "expand = {expand} must be even and at least 2"),
    ),
)
class SpatialGating(nn.Module):
    """Gates half of the hidden channels by a linear map over positions of the other half.

    [u; v] = act(W1 x);  y = W2 (u * (M norm(v) + b))

    W1 pointwise C -> e C, W2 pointwise e C / 2 -> C; M is N x N over the N = H W positions, the same for every channel,
    b one value per position. M starts near 0 and b at 1, so that the gate starts open. The resolution is fixed when it
    is built. The additive twin (`sum`) adds the gate.

    Shapes: (B, C, H, W) -> (B, C, H, W), (H, W) = resolution.
    Degree: 2 if interact == "mul" else 1
    Params: 3*expand*C**2//2 + (expand + 1)*C + N**2 + N + weights(act, expand*C) + weights(norm, expand*C//2)
    MACs: 3*expand*C**2//2*N + N**2*expand*C//2
    Products: (expand*C//2*N if interact == "mul" else 0) + products(act, expand*C*N)
    Source: Liu et al., "Pay attention to MLPs", 2021, arXiv 2105.08050, section 2.1, equations 2 to 4; norm and
        residual are outside.
    timm: timm.models.mlp_mixer.SpatialGatingBlock
    """

    def __init__(
        self,
        dim: int,
        *,
        resolution: tuple[int, int],
        expand: int = 6,
        act: Act | None = "gelu",
        interact: Literal["mul", "sum"] = "mul",
        norm: Norm | None = "layernorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.resolution = resolution
        tokens, half = resolution[0] * resolution[1], expand * dim // 2
        self.w1 = nn.Conv2d(dim, 2 * half, 1, **dd)
        self.act = activation(act, **dd)
        self.norm = normalisation(norm, half, **dd)
        self.m = nn.Linear(tokens, tokens, **dd)
        self.w2 = nn.Conv2d(half, dim, 1, **dd)
        self.multiply = interact == "mul"
        self.init_weights()

    def init_weights(self) -> None:
        """Open the gate; a model calls this after it has initialised its linear maps."""
        nn.init.normal_(self.m.weight, std=1e-6)
        nn.init.ones_(self.m.bias)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.act(self.w1(x)).chunk(2, dim=1)
        gate = self.m(positions(self.norm(v), self.resolution)).view_as(u)
        return self.w2(u * gate if self.multiply else u + gate)
