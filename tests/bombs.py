"""A user's file: a study with blocks whose training ends the process, never ends, or calls sys.exit."""

import os
import sys
import time
from typing import Any, Literal

from torch import Tensor, nn

from hadnas import Recipe, Study, block, one_of, op


@block(family="additive")
class Bomb(nn.Module):
    """A convolution, or the end of its process."""

    def __init__(
        self,
        dim: int,
        *,
        how: Literal["fine", "abort", "hang", "exit"] = "fine",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.how, self.conv = how, nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 64:  # the batch of a training
            if self.how == "abort":
                os.abort()
            if self.how == "hang":
                time.sleep(1e6)
            if self.how == "exit":
                sys.exit(3)
        return self.conv(x)


BLOCK = op("residual", merge=op("add"), block=op("bomb", how=one_of("fine", "abort", "hang", "exit")))
STAGE = {"dim": 8, "down": op("conv_norm"), "blocks": [BLOCK]}
STUDY = Study(
    name="bombs",
    space=op("pyramid", stem=op("conv_norm", dim=8, stride=2), head=op("pooled_linear"), stages=[STAGE]),
    recipe=Recipe(epochs=1, batch=64),
    trials=4,
    latency=None,
    sampler="exhaustive",
    baselines={},
)
