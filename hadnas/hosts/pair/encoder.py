"""Encoders: what a pair makes of one input, a map or its mean."""

from typing import Any

import timm
from torch import Tensor, nn

from hadnas.blocks.layers import Norm, normalisation
from hadnas.hosts.stage import Stage


class Encoder(nn.Module):
    """A pyramid without its head: what its stem reads to a map (B, C, H, W), with `pool` to its mean (B, C)."""

    def __init__(
        self,
        *,
        stem: nn.Module,
        stages: list[Stage],
        norm: Norm | None,
        pool: bool,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(*stages)
        self.norm = normalisation(norm, stages[-1].dim, device=device, dtype=dtype)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stages(self.stem(x)))
        return x.mean((2, 3)) if self.pool else x


class TimmEncoder(nn.Module):
    """A network of timm without its classifier: an image to its features (B, C), without `pool` as (B, C, 1, 1)."""

    def __init__(
        self,
        *,
        model: str,
        in_chans: int,
        pool: bool,
        img_size: tuple[int, int] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sized = {} if img_size is None else {"img_size": img_size}
        self.network = timm.create_model(model, in_chans=in_chans, num_classes=0, device=device, dtype=dtype, **sized)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.network(x)
        return x if self.pool else x[:, :, None, None]
