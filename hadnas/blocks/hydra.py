"""Hydra attention: as many heads as channels, so that attention is two products and a mean."""

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.registry import block


@block(family="attention", twin=("interact", "mul", "sum"))
class Hydra(nn.Module):
    """Linear attention with one channel per head.

    y = W'(q^ * mean(k^ * v)),  [q; k; v] = W x,  q^ = sqrt(C) q / |q|,  k^ = sqrt(C) k / |k|

    W pointwise C -> 3 C, W' pointwise C -> C; |.| the norm over the channels of a position; mean over positions.
    Without `normalise` q^ = q, k^ = k, a polynomial. In the additive twin (`sum`) both products are sums.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: (3 if interact == "mul" else 1) (nominal) if normalise else 3 if interact == "mul" else 1
    Params: 4*C**2 + 4*C
    MACs: 4*C**2*N
    Products: 2*C*N if interact == "mul" else 0
    Source: Bolya et al., "Hydra attention", 2022, arXiv 2209.07484; here a mean, not a sum, over positions, and the
        factors sqrt(C), so that the scale depends neither on the resolution nor on C.
    """

    def __init__(
        self,
        dim: int,
        *,
        normalise: bool = True,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.scale = dim**0.5
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, **dd)
        self.project = nn.Conv2d(dim, dim, 1, **dd)
        self.normalise = normalise
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=1)
        if self.normalise:
            q, k = F.normalize(q, dim=1) * self.scale, F.normalize(k, dim=1) * self.scale
        context = (k * v if self.multiply else k + v).mean((2, 3), keepdim=True)
        return self.project(q * context if self.multiply else q + context)
