"""AFT: attention without queries times keys, whose position weights are learned for every pair."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import positions
from hadnas.blocks.registry import block


@block(family="attention", twin=("interact", "mul", "sum"))
class Aft(nn.Module):
    """Attention-free attention: a gate multiplies a mean of all values, weighted by content and by position.

    y_i = P(sigmoid(q_i) * sum_j exp(k_j + w_ij) v_j / sum_j exp(k_j + w_ij))  in each channel

    q, k, v, P pointwise C -> C, k without bias, which would cancel; w a learned weight per pair of positions, the same
    for all channels and 0 at first, so the map's size is fixed by `resolution`. The additive twin (`sum`) adds
    sigmoid(q).

    Shapes: (B, C, H, W) -> (B, C, H, W) at (H, W) = resolution only.
    Degree: (3 if interact == "mul" else 2) (nominal)
    Params: 4*C**2 + 3*C + N**2
    MACs: 4*C**2*N + 2*C*N**2
    Products: (2 if interact == "mul" else 1)*C*N
    Source: Zhai et al., "An attention free transformer", 2021, arXiv 2105.14103, equation 2; w is not factored.
    """

    def __init__(
        self,
        dim: int,
        *,
        resolution: tuple[int, int],
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.resolution = resolution
        tokens = resolution[0] * resolution[1]
        self.q = nn.Linear(dim, dim, **dd)
        self.k = nn.Linear(dim, dim, bias=False, **dd)
        self.v = nn.Linear(dim, dim, **dd)
        self.w = nn.Parameter(torch.zeros(tokens, tokens, **dd))
        self.project = nn.Linear(dim, dim, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        tokens = positions(x, self.resolution).transpose(1, 2)
        q, k, v = self.q(tokens), self.k(tokens), self.v(tokens)
        # shifts of k in a channel and of w in a row cancel
        k, w = torch.exp(k - k.amax(1, keepdim=True)), torch.exp(self.w - self.w.amax(1, keepdim=True))
        sums, sizes = (w @ torch.cat((k * v, k), dim=2)).chunk(2, dim=2)
        gate, mean = torch.sigmoid(q), sums / sizes
        return self.project(gate * mean if self.multiply else gate + mean).transpose(1, 2).reshape(x.shape)
