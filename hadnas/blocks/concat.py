"""The concatenation merge: one linear map of both inputs."""

from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register


@register("merge", family="additive")
class Concat(nn.Module):
    """Skip and branch concatenated and mapped to one width: the most general linear merge.

    y = W [a; b]

    W pointwise 2 C -> C with bias. There is no identity path.

    Shapes: a, b (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 2*C**2 + C
    MACs: 2*C**2*H*W
    Products: 0
    Source: Huang et al., "Densely connected convolutional networks", 2016, arXiv 1608.06993, equation 2, followed by a
        pointwise convolution.
    """

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.w = nn.Conv2d(2 * dim, dim, 1, device=device, dtype=dtype)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.w(torch.cat((a, b), dim=1))
