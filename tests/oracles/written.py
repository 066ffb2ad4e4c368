"""The few layers that oracles are written with, from their formulas: einsums and sums over shifted maps."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def pointwise(p: dict[str, Tensor], name: str, x: Tensor, rows: slice = slice(None)) -> Tensor:
    """The 1 x 1 convolution `name`, or some of its output channels."""
    bias = p[f"{name}.bias"][rows, None, None] if f"{name}.bias" in p else 0
    return torch.einsum("oi,bihw->bohw", p[f"{name}.weight"][rows, :, 0, 0], x) + bias


def depthwise(p: dict[str, Tensor], name: str, x: Tensor, dilation: int = 1, rows: slice = slice(None)) -> Tensor:
    """The depthwise convolution `name` with zeros around the map, or some of its channels."""
    weight, (height, width) = p[f"{name}.weight"][rows, 0, :, :, None, None], x.shape[2:]
    k = weight.shape[1]
    padded = F.pad(x, (k // 2 * dilation,) * 4)
    total = p[f"{name}.bias"][rows, None, None] if f"{name}.bias" in p else torch.zeros((), dtype=x.dtype)
    for i in range(k):
        for j in range(k):
            window = padded[:, :, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
            total = total + weight[:, i, j] * window
    return total


def batch_norm(p: dict[str, Tensor], name: str, x: Tensor, training: bool) -> Tensor:
    """The batch norm `name` of (B, C, ...): by the statistics of the batch in training, else by the running ones."""
    shape = (-1, *[1] * (x.dim() - 2))
    mean, var = (p[f"{name}.{key}"].view(shape) for key in ("running_mean", "running_var"))
    if training:
        over = [0, *range(2, x.dim())]
        mean = x.mean(over, keepdim=True)
        var = ((x - mean) ** 2).mean(over, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5) * p[f"{name}.weight"].view(shape) + p[f"{name}.bias"].view(shape)


def act(name: str | None, x: Tensor) -> Tensor:
    """An activation by its formula."""
    if name is None:
        return x
    return {
        "relu": lambda: torch.where(x > 0, x, 0),
        "relu6": lambda: x.clamp(0, 6),
        "sigmoid": lambda: 1 / (1 + torch.exp(-x)),
        "silu": lambda: x / (1 + torch.exp(-x)),
        "gelu": lambda: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    }[name]()


def join(interact: str, a: Tensor, b: Tensor) -> Tensor:
    """Product, or sum in the additive twin."""
    return a * b if interact == "mul" else a + b
