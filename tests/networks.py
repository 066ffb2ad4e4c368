"""Architectures and spaces that several tests share."""

import time
import warnings
from typing import Any

import torch
from torch import nn

from hadnas.arch.task import Task
from hadnas.inputs import Mask, Tokens
from hadnas.space import int_range, one_of, op, repeat

DOWN = op("conv_norm", kernel=3, stride=2)

TWO_INPUTS = {
    "two_images": Task({"left": (1, 8, 8), "right": (1, 8, 8)}, 5),
    "image_motion": Task({"fixed": (1, 24, 24), "moving": (1, 24, 24)}, 5, "values"),
    "field_and_vector": Task({"loads": (1, 1, 16), "material": (4,)}, 5, "values"),
    "image_with_holes": Task({"image": (1, 8, 8), "mask": Mask(8, 8)}, 5),
    "in_context_regression": Task({"query": (5,), "context": (6, 1, 20)}, 5, "values"),
    "image_and_question": Task({"images": (3, 64, 64), "tokens": Tokens(9, 27)}, 5),
}
"""Shipped search space of two inputs -> a task of its networks."""


def residual(block: Any, **slots: Any) -> dict[str, Any]:
    return op("residual", block=block, merge=slots.pop("merge", op("add")), **slots)


def pyramid(*stages: tuple[int, list[Any]], stem: Any = None, **slots: Any) -> dict[str, Any]:
    """A pyramid of (width, blocks) stages, each at half the resolution of the one before."""
    return op(
        "pyramid",
        stem=stem or op("conv_norm", dim=8, stride=1),
        stages=[{"dim": dim, "down": DOWN, "blocks": blocks} for dim, blocks in stages],
        head=op("pooled_linear"),
        **slots,
    )


def fvcore_counts(net: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """What fvcore counts for one image, by operator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which torch deprecates
        from fvcore.nn import FlopCountAnalysis

        counted = FlopCountAnalysis(net.eval(), torch.zeros(1, *shape)).unsupported_ops_warnings(False)
        return dict(counted.uncalled_modules_warnings(False).by_operator())


def starnet(width: int, depths: tuple[int, ...]) -> dict[str, Any]:
    """StarNet of timm's `starnet_s1` kind."""
    stages = [(width * 2**i, [residual(op("star"))] * depth) for i, depth in enumerate(depths)]
    return pyramid(*stages, stem=op("conv_norm", dim=32, act="relu6"))


TINY_SPACE = pyramid(
    (
        8,
        [
            repeat(
                residual(
                    one_of(op("star", expand=one_of(1, 2), kernel=3), op("mlp", expand=2)),
                    merge=one_of(op("add"), op("product")),
                ),
                int_range(1, 2),
            )
        ],
    ),
)
"""42 assignments: one or two blocks, each a star of two widths or an MLP, each with one of two merges."""


def block_file(name: str, factor: int = 2) -> str:
    """A file with one block of its own: a pointwise convolution, `factor` times its size."""
    return f"""
from typing import Any
from torch import Tensor, nn
from hadnas import block


@block(family="convolution")
class {name}(nn.Module):
    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return {factor} * self.conv(x)
"""


def work(seconds: float) -> None:
    """Keep this thread busy for so long by its own clock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
