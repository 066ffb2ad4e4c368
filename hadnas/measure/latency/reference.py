"""The network every latency is compared with: small, fixed, at the study's own input size.

A figure in milliseconds drifts with the load and the clock of the machine; the ratio to a reference that is timed in
turn with the candidate repeats, as far as both feel alike what changes. So it takes the candidate's own input, as one
much larger empties the candidate's caches, and is made of what most candidates are made of: dense, depthwise and
pointwise convolutions, normalisation, an activation, sums. And it is small: timed in turn in the same processes, the
ratios of five digits-sized networks to it had a standard deviation of .67 and .59 % (twice 16 processes), to one twice
as wide, whose 5 MB of weights a core's cache of 2 MB does not hold, 1.03 and 1.04 %, to nine 3x3 convolutions as wide
as this .83 % (once). The ratios of five timm models hardly tell them apart: .82 and .78 %, .84 and .87 %, .76 % (10 and
8 processes).
"""

import torch
from torch import Tensor, nn

NAME = "mixed16"  # part of every protocol: a changed network needs a new name
WIDTHS = (16, 32, 64, 128)


class Mixer(nn.Module):
    """x + pointwise(GELU(pointwise(BN(depthwise(x))))), the inner width four times the outer: (B, C, H, W), as x."""

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

    (B, C, H, W) -> (B, 10) for any C, H, W >= 1. Weights are the same in every process.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, WIDTHS[0], 3, stride=2, padding=1)]
        width = WIDTHS[0]
        for out in WIDTHS:
            layers += [nn.Conv2d(width, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), Mixer(out)]
            width = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def reference(channels: int) -> Reference:
    """The reference for inputs of `channels` channels, on the CPU, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it is
        torch.manual_seed(0)
        return Reference(channels).eval()
