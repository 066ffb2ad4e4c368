"""Global pooling and a linear classifier."""

from typing import Any, Literal

from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn

from hadnas.blocks.layers import Norm, classifier, normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import within


@register("head", rules=(within("dropout", 0.0, 0.99),))
class PooledLinear(nn.Module):
    """Pool over positions, norm, linear map.

    y = W dropout(norm(pool(x))) + b

    Shapes: (B, dim, H, W) -> (B, classes); with classes = 0 the features; after `reset` to pool "" a map of either.
    Degree: 1
    Params: (classes*C + weights(norm, C))*(2 if pool == "catavgmax" else 1) + classes
    MACs: classes*C*(2 if pool == "catavgmax" else 1)
    Products: 0
    Source: Lin et al., "Network in network", 2013, arXiv 1312.4400, section 3.2 (the mean over positions), followed by
        a linear map.
    timm: timm.layers.NormMlpClassifierHead
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        norm: Norm | None = None,
        pool: Literal["avg", "max", "avgmax", "catavgmax"] = "avg",
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.pool = SelectAdaptivePool2d(pool_type=pool)
        self.hidden_size: int = dim * self.pool.feat_mult()  # the width of the features that the classifier reads
        self.norm = normalisation(norm, self.hidden_size, device=device, dtype=dtype)
        self.drop = nn.Dropout(dropout)
        self.fc: nn.Module = nn.Identity()
        self.reset(classes, device=device, dtype=dtype)

    def reset(self, classes: int, pool: str | None = None, *, device: Any = None, dtype: Any = None) -> None:
        """Set the number of classes (0: none) and, if given, the pooling ("": none).

        If the width of the features changes, the norm is removed. Without pooling each position is classified
        separately.
        """
        self.classes = classes
        if pool is not None:
            self.pool = SelectAdaptivePool2d(pool_type=pool)
        width = self.dim * self.pool.feat_mult()
        if width != self.hidden_size:
            self.norm = nn.Identity()
        self.hidden_size = width
        self.fc = classifier(width, classes, self.pool.pool_type, device=device, dtype=dtype)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.norm(self.pool(x))
        x = self.drop(x.flatten(1) if self.pool.pool_type else x)
        return x if pre_logits else self.fc(x)
