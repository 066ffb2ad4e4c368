"""Attentive convolution: a depthwise convolution with a kernel made from the image itself."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd


@block(family="attention", rules=(odd("kernel", 3),))
class AttentiveConv(nn.Module):
    """Attention of each position to its k x k neighbours, with weights that all positions of an image share.

    K = G act(pool(A x));  y = P(DW_K'(V x)),  K' = K - sigmoid(d) * mean(K)  in each channel

    A, V, P pointwise C -> C; pool averages the positions, row after row, to k^2 values (torch's adaptive pooling in one
    dimension); G k^2 -> k^2, the same for all channels; DW_K' the depthwise convolution of each image with its own
    kernels; mean over their k^2 weights, which compete; d learned per channel from 0. There is no additive twin: the
    product is a contraction, as in attention, not one of two maps.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2
    Params: 3*C**2 + 4*C + kernel**4 + kernel**2 + weights(act, C)
    MACs: (3*C**2 + kernel**2*C)*N + kernel**4*C
    Products: products(act, kernel**2*C)
    Source: Yu et al., "Attentive convolution: unifying the expressivity of self-attention with convolutional
        efficiency", 2025, arXiv 2510.20092; the pooling is that of the authors' code.
    """

    def __init__(
        self, dim: int, *, kernel: int = 3, act: Act | None = "gelu", device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.kernel = kernel
        self.a = nn.Conv2d(dim, dim, 1, **dd)
        self.pool = nn.AdaptiveAvgPool1d(kernel**2)
        self.act = activation(act, **dd)
        self.g = nn.Linear(kernel**2, kernel**2, **dd)
        self.d = nn.Parameter(torch.zeros(dim, **dd))
        self.v = nn.Conv2d(dim, dim, 1, **dd)
        self.project = nn.Conv2d(dim, dim, 1, **dd)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.g(self.act(self.pool(self.a(x).flatten(2))))
        weight = weight - torch.sigmoid(self.d)[:, None] * weight.mean(2, keepdim=True)
        # A convolution with a group per image and channel would fix the batch size in an exported file.
        around = F.unfold(self.v(x), self.kernel, padding=self.kernel // 2)
        around = around.reshape(x.shape[0], x.shape[1], -1, x.shape[2] * x.shape[3])
        return self.project((weight.unsqueeze(2) @ around).reshape(x.shape))
