"""The sigmoid scale merge: the branch scaled by a learned share."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register
from hadnas.blocks.rules import require


@register(
    "merge",
    family="additive",
    rules=(require(lambda v: 0 < v["share"] < 1, "share = {share} must be greater than 0 and less than 1"),),
)
class SigmoidScale(nn.Module):
    """Sum of the skip and of a learned share of the branch.

    y = a + sigmoid(w) b

    w is one scalar, at the start the one with sigmoid(w) = `share`: the scale stays between 0 and 1.

    Shapes: a, b (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 1
    MACs: 0
    Products: 0
    Source: Wang, Gregory, Chrysos, "Activation-free backbones for image recognition: polynomial alternatives within
        MetaFormer-style vision models", 2026, arXiv 2605.20839; there the share falls from residual to residual within
        a cell, as 0.5, 0.25, 0.125.
    """

    def __init__(self, dim: int, *, share: float = 0.5, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((), math.log(share / (1 - share)), device=device, dtype=dtype))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + torch.sigmoid(self.w) * b
