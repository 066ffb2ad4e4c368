"""PoolFormer's mixer: the local mean, without weights."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd


@block(family="additive", rules=(odd("kernel", 3),))
class Pooling(nn.Module):
    """The local mean minus the input; with a residual around it, the local mean.

    y = avgpool(x) - x

    avgpool over k x k at stride 1; a window at the border averages only the positions inside the map.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 0
    MACs: 0
    Products: 0
    Source: Yu et al., "MetaFormer is actually what you need for vision", 2021, arXiv 2111.11418, equation 4.
    timm: timm.models.metaformer.Pooling
    """

    def __init__(self, dim: int, *, kernel: int = 3, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(kernel, stride=1, padding=kernel // 2, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x) - x
