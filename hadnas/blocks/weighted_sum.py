"""The weighted sum merge: two learned weights."""

from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register


@register("merge", family="additive")
class WeightedSum(nn.Module):
    """Sum of skip and branch with learned weights.

    y = w_1 a + w_2 b, w = softmax(v)

    v are two scalars, 0 at the start: the merge begins as the mean; the weights are positive and sum to 1.

    Shapes: a, b (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 2
    MACs: 0
    Products: 0
    Source: Tan et al., "EfficientDet: scalable and efficient object detection", 2019, arXiv 1911.09070, section 3.3
        (softmax-based fusion).
    """

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.zeros(2, device=device, dtype=dtype))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        w = self.v.softmax(dim=0)
        return w[0] * a + w[1] * b
