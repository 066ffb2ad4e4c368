"""The reference network of every latency ratio: small, fixed, with the candidate's input size.

Milliseconds drift with the load and the clock of the machine; the ratio to a reference timed alternately with the
candidate is reproducible if a change affects both alike. So the reference has the candidate's input, since a much
larger one would flush the candidate's data from the caches, and the operations of most candidates: dense, depthwise
and pointwise convolutions, normalisation, an activation, sums. And it is small. Standard deviation of the ratio of
five digits-sized networks, timed alternately in the same processes: .67 and .59 % to this reference (twice 16
processes); 1.03 and 1.04 % to one twice as wide, with 5 MB of weights beside a core's cache of 2 MB; .83 % to nine 3x3
convolutions of this width (once). For five timm models they hardly differ: .82 and .78 %, .84 and .87 %, .76 % (10 and
8 processes).
"""

import torch
from torch import Tensor, nn

from hadnas.inputs import Inputs

NAME = "mixed16"  # part of every protocol: a changed network needs a new name
STAGE_WIDTHS = (16, 32, 64, 128)


class Mixer(nn.Module):
    """x + pointwise(GELU(pointwise(BN(depthwise(x))))), the inner width four times the outer; (B, C, H, W) -> same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, 4 * width, 1)
        self.act = nn.GELU()
        self.project = nn.Conv2d(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.act(self.expand(self.norm(self.depthwise(x)))))
        return x + out


class Reference(nn.Module):
    """A 3x3 stem and four stages of a 3x3 convolution and a mixer; every stage, and the stem, halves the input.

    (B, C, H, W) -> (B, 10) for any C, H, W >= 1. `reference` gives the same weights in every process.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, STAGE_WIDTHS[0], 3, stride=2, padding=1)]
        width = STAGE_WIDTHS[0]
        for out in STAGE_WIDTHS:
            layers += [nn.Conv2d(width, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), Mixer(out)]
            width = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def image_of(inputs: Inputs) -> Tensor:
    """The reference's input: the first image or map of the candidate's, else zeros of 1 x 8 x 8."""
    image = next((one for one in inputs if one.ndim == 4), None)
    dtype = next((one.dtype for one in inputs if one.is_floating_point()), torch.float32)
    return torch.zeros(len(inputs[0]), 1, 8, 8, dtype=dtype, device=inputs[0].device) if image is None else image


def reference(channels: int) -> Reference:
    """The reference for inputs of `channels` channels, on the CPU, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random state unchanged
        torch.manual_seed(0)
        return Reference(channels).eval()
