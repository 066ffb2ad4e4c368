"""A convolution whose weight is the Hadamard product of two low-rank tensors (LoHa, FedPara)."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import uncast_product
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, odd


@block(family="convolution", rules=(odd("kernel"), at_least("rank", 1)))
class LoHa(nn.Module):
    """A dense convolution, pointwise or k x k, with few parameters: the product is one of weights, not of features.

    y = conv(x; W) + b, W = W_1 * W_2
    W_i = X_i^T Y_i for kernel 1, W_i = T_i x_1 X_i x_2 Y_i otherwise

    r = rank; X_i, Y_i are r x C, T_i r x r x k x k. W has a rank up to r**2, the sum of two such tensors (`sum`) up to
    2 r. Var(W) = 1 / (k**2 C) at the start. Every forward pass composes W once for the whole batch; the rest costs as
    much as the dense convolution.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 4*rank*C + C + (2*rank**2*kernel**2 if kernel > 1 else 0)
    MACs: kernel**2*C**2*H*W + 2*kernel**2*rank*C**2 + (2*kernel**2*rank**2*C if kernel > 1 else 0)
    Products: 0
    Source: Hyeon-Woo et al., "FedPara: low-rank Hadamard product for communication-efficient federated learning", 2021,
        arXiv 2108.06098, propositions 1 and 3; without the optional tanh, variance corrected for the product.
    """

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 3,
        rank: int = 8,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        # W_i is a sum of r (r**2 with a core) products of two (three) independent entries.
        terms, entries = (rank, 2) if kernel == 1 else (rank**2, 3)
        variance = 1 / (kernel**2 * dim)
        variance = variance**0.5 if interact == "mul" else variance / 2  # of each W_i
        std = (variance / terms) ** (0.5 / entries)

        def factor(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, **dd) * std)

        self.x1, self.y1 = factor(rank, dim), factor(rank, dim)
        self.x2, self.y2 = factor(rank, dim), factor(rank, dim)
        self.t1 = factor(rank, rank, kernel, kernel) if kernel > 1 else None
        self.t2 = factor(rank, rank, kernel, kernel) if kernel > 1 else None
        self.bias = nn.Parameter(torch.zeros(dim, **dd))
        self.padding = kernel // 2
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        w1, w2 = compose(self.t1, self.x1, self.y1), compose(self.t2, self.x2, self.y2)
        return F.conv2d(x, w1 * w2 if self.multiply else w1 + w2, self.bias, padding=self.padding)


def compose(t: Tensor | None, x: Tensor, y: Tensor) -> Tensor:
    """The weight (out, in, k, k) of core t (r, r, k, k) and factors x (r, out), y (r, in); k = 1 without a core."""
    if t is None:
        return uncast_product(x.t(), y)[:, :, None, None]
    _, rank, height, width = t.shape
    joined = uncast_product(x.t(), t.flatten(1)).reshape(-1, rank, height, width).permute(0, 2, 3, 1)
    return uncast_product(joined.flatten(0, 2), y).reshape(-1, height, width, y.shape[1]).permute(0, 3, 1, 2)
