"""PolyNeXt's head: the product of two linear maps, pooled, and a linear classifier."""

from typing import Any, Literal

from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn

from hadnas.blocks.layers import PlacedNorm, classifier, needs_no_resolution, placed_normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import within


@register("head", twin=("interact", "mul", "sum"), rules=(within("dropout", 0.0, 0.99),), unused=needs_no_resolution)
class PolyPooled(nn.Module):
    """Norm, a product of two linear maps added to one of them, pool over positions, linear map.

    y = V dropout(pool(l + l * r)) + b,  [l; r] = W norm(x)

    W pointwise C -> 4 C without bias, half of it l and half r; V 2 C -> classes. The additive twin (`sum`) has l + r in
    place of l * r.

    Shapes: (B, dim, H, W) -> (B, classes); with classes = 0 the 2 C features; after `reset` to pool "" a map of either.
    Degree: 2 if interact == "mul" else 1
    Params: 4*C**2 + weights(norm, C, N) + (2*C + 1)*classes
    MACs: 4*C**2*H*W + 2*C*classes
    Products: 2*C*H*W if interact == "mul" else 0
    Source: Wang, Gregory, Chrysos, "Activation-free backbones for image recognition: polynomial alternatives within
        MetaFormer-style vision models", 2026, arXiv 2605.20839.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        norm: PlacedNorm | None = "layernorm2d_no_bias_eps1e-5",
        pool: Literal["avg", "max", "avgmax"] = "avg",
        dropout: float = 0.0,
        interact: Literal["mul", "sum"] = "mul",
        resolution: tuple[int, int] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.hidden_size = 2 * dim
        self.norm = placed_normalisation(norm, dim, resolution, **dd)
        self.w = nn.Conv2d(dim, 4 * dim, 1, bias=False, **dd)
        self.multiply = interact == "mul"
        self.pool = SelectAdaptivePool2d(pool_type=pool)
        self.drop = nn.Dropout(dropout)
        self.fc: nn.Module = nn.Identity()
        self.reset(classes, **dd)

    def reset(self, classes: int, pool: str | None = None, *, device: Any = None, dtype: Any = None) -> None:
        """Set the number of classes (0: none) and, if given, the pooling ("": none).

        Without pooling each position is classified separately. Raises ValueError for a pooling of another width.
        """
        if pool == "catavgmax":
            raise ValueError(f"global_pool = {pool!r} is not allowed with this head; avg, max, avgmax or none ('') is")
        self.classes = classes
        if pool is not None:
            self.pool = SelectAdaptivePool2d(pool_type=pool)
        self.fc = classifier(self.hidden_size, classes, self.pool.pool_type, device=device, dtype=dtype)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        left, right = self.w(self.norm(x)).chunk(2, dim=1)
        x = self.pool(left + (left * right if self.multiply else left + right))
        x = self.drop(x.flatten(1) if self.pool.pool_type else x)
        return x if pre_logits else self.fc(x)
