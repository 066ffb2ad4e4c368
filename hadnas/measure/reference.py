"""The network every latency is compared with: small, plain, fixed, at the study's own input size.

A figure in milliseconds drifts with the load and the clock of the machine; the ratio to a reference that is timed in
turn with the candidate repeats. The reference takes the candidate's own input, because one much larger than the
candidate empties its caches and spoils the ratio, and it is made of what nearly every candidate is made of (3x3
convolutions, batch normalisation, ReLU), so that it feels a competing process as they do.
"""

import torch
from torch import Tensor, nn

NAME = "plain9"  # part of every protocol: a changed network needs a new name
WIDTHS = (16, 32, 64, 128)


class Reference(nn.Module):
    """A 3x3 stem and four stages of two 3x3 convolutions; every stage, and the stem, halves the input.

    (B, C, H, W) -> (B, 10) for any C, H, W >= 1. Weights are the same in every process.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        for out, stride in [(WIDTHS[0], 2), *((w, s) for w in WIDTHS for s in (2, 1))]:
            conv = nn.Conv2d(width, out, 3, stride, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
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
