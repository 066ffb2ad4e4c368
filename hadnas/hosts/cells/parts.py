"""What stands before and behind the stages of cells, each as a part by itself: from one map to two and back."""

from typing import Any

from torch import Tensor, nn


class Both(nn.Module):
    """A stem whose map is both of those that the first cell reads: (B, C, H, W) -> two maps (B, dim, H', W')."""

    def __init__(self, *, stem: nn.Module, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.stem = stem

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        return x, x


class Newer(nn.Module):
    """A norm of the newer of two maps (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, *, norm: nn.Module, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        return self.norm(newer)
