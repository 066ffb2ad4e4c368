"""Augmentation of whole batches on the device, by draws of a seeded generator on the CPU.

So a seed gives the same augmentation on every device, and no step waits for random numbers.
"""

from typing import Literal

import torch
from torch import Tensor


class Shifts:
    """One epoch of random shifts and mirrorings: draw once, then apply to each batch in turn.

    A shift moves an image by up to an eighth of its side (at least one pixel) and repeats its edge.
    """

    def __init__(
        self, kind: Literal["shift", "shift_flip"], images: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self._flips = kind == "shift_flip"
        self._draws = torch.rand(images, 3, generator=generator).to(device)
        self._used = 0

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        batch, channels, height, width = images.shape
        draws = self._draws[self._used : self._used + batch]
        self._used += batch
        rows = _shifted(draws[:, 0], height)
        columns = _shifted(draws[:, 1], width)
        if self._flips:
            columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
        image = torch.arange(batch, device=images.device)[:, None, None, None]
        channel = torch.arange(channels, device=images.device)[:, None, None]
        return images[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _shifted(draws: Tensor, side: int) -> Tensor:
    """(B,) uniform draws -> (B, side) source positions."""
    reach = max(1, side // 8)
    offset = (draws * (2 * reach + 1)).long() - reach
    return (torch.arange(side, device=draws.device) + offset[:, None]).clamp(0, side - 1)
