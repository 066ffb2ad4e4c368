"""Layers shared by ops: activations and norms by name, products in full precision, maps of one fixed resolution."""

from typing import Any, Literal

import torch
from timm.layers import LayerNorm2d, create_act_layer, create_norm_layer, register_notrace_function
from timm.models.metaformer import GroupNorm1NoBias, LayerNorm2dNoBias, SquaredReLU, StarReLU
from torch import Tensor, nn
from torch.nn import functional as F

Act = Literal[
    "relu", "relu6", "leaky_relu", "elu", "tanh", "sigmoid", "hard_sigmoid",
    "silu", "gelu", "mish", "hard_swish", "quick_gelu", "star_relu", "squared_relu",
]  # fmt: skip
Norm = Literal[
    "batchnorm2d", "layernorm2d", "layernorm2d_eps1e-5", "layernorm2d_no_bias", "layernorm2d_no_bias_eps1e-5",
    "groupnorm1", "groupnorm1_no_bias", "rmsnorm2d",
]  # fmt: skip

PlacedNorm = Literal[Norm, "position_norm"]
"""Norms of ops that know the resolution of their map."""


def activation(act: Act | None, *, device: Any = None, dtype: Any = None) -> nn.Module:
    """The activation of this name; the identity for None.

    SiLU, GELU, Mish, hard Swish (x times a gate of x), StarReLU (s * relu(x)^2 + b) and squared ReLU are the
    multiplicative activations. Sources: GELU arXiv 1606.08415, section 2; Mish arXiv 1908.08681; StarReLU
    arXiv 2210.13452; squared ReLU arXiv 2109.08668.
    """
    if act is None:
        return nn.Identity()
    if act == "star_relu":
        return StarReLU(device=device, dtype=dtype)
    if act == "squared_relu":
        return SquaredReLU()
    return create_act_layer(act)


def normalisation(norm: Norm | None, dim: int, *, device: Any = None, dtype: Any = None) -> nn.Module:
    """The norm of this name over `dim` channels of an NCHW map; the identity for None.

    groupnorm1 and batchnorm2d add 1e-5 to the variance; the others 1e-6, unless their name gives another value.
    """
    if norm is None:
        return nn.Identity()
    if norm == "layernorm2d_eps1e-5":
        return LayerNorm2d(dim, eps=1e-5, device=device, dtype=dtype)
    if norm == "layernorm2d_no_bias_eps1e-5":
        return LayerNorm2d(dim, eps=1e-5, bias=False, device=device, dtype=dtype)
    if norm == "layernorm2d_no_bias":
        return LayerNorm2dNoBias(dim, device=device, dtype=dtype)
    if norm == "groupnorm1_no_bias":
        return GroupNorm1NoBias(dim, device=device, dtype=dtype)
    if norm == "rmsnorm2d":
        return RMSNorm2d(dim, eps=1e-6, device=device, dtype=dtype)
    return create_norm_layer(norm, dim, device=device, dtype=dtype)


def placed_normalisation(
    norm: PlacedNorm | None, dim: int, resolution: tuple[int, int] | None, *, device: Any = None, dtype: Any = None
) -> nn.Module:
    """`normalisation`, or the norm by position of maps of this resolution."""
    if norm != "position_norm":
        return normalisation(norm, dim, device=device, dtype=dtype)
    if resolution is None:
        raise ValueError("position_norm needs the resolution of the map")
    return PositionNorm(dim, resolution, device=device, dtype=dtype)


def needs_no_resolution(values: Any) -> tuple[str, ...]:
    """What an op does not need, in the form of `unused`: the resolution, unless one of its norms is by position."""
    return () if "position_norm" in values.values() else ("resolution",)


class PositionNorm(nn.Module):
    """Batch norm by position: mean and variance over images and channels, running at inference.

    y = w_n w_c (x - mean_n) / sqrt(var_n + 1e-5)

    n is one of the N positions, c one of the channels; w_n and w_c are learned. At inference it is linear in x (Wang,
    Gregory, Chrysos, 2026, arXiv 2605.20839).
    """

    def __init__(self, dim: int, resolution: tuple[int, int], *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.resolution = resolution
        self.norm = nn.BatchNorm1d(resolution[0] * resolution[1], device=device, dtype=dtype)
        self.norm.register_parameter("bias", None)
        self.weight = nn.Parameter(torch.ones(dim, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(positions(x, self.resolution).transpose(1, 2)) * self.weight
        return y.transpose(1, 2).reshape(x.shape)


class RunningSums(nn.Module):
    """Similarities (B, heads, N, N) over the running mean of the sums of their rows, times a learned gain per row.

    In training the mean is that of the batch; at inference the map is linear. Sums are those of similarities >= 0.
    """

    def __init__(self, heads: int, resolution: tuple[int, int], *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        shape = heads, resolution[0] * resolution[1], 1
        # of one axis, as other norms' weights are, so that it does not decay
        self.gain = nn.Parameter(torch.ones(shape[0] * shape[1], device=device, dtype=dtype))
        self.register_buffer("running_mean", torch.ones(shape, device=device, dtype=dtype))
        self.running_mean: Tensor

    def forward(self, weights: Tensor) -> Tensor:
        sums = self.running_mean
        if self.training:
            sums = weights.sum(3, keepdim=True).mean(0)
            with torch.no_grad():
                self.running_mean.mul_(0.9).add_(0.1 * sums)
        return weights / (sums + 1e-6) * self.gain.view_as(self.running_mean)


class RMSNorm2d(nn.RMSNorm):
    """Root mean square norm over the channels of an NCHW map (Zhang and Sennrich, 2019, arXiv 1910.07467, equation 4).

    torch's kernel computes in at least float32; timm's 2d form squares and multiplies in the dtype of its input.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.eps).permute(0, 3, 1, 2)


def context_norm(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalise each channel over the cells of an image: (B, T, C) -> (B, T, C), in at least float32.

    gamma * (z - mean(z)) / sqrt(var(z) + 1e-8) + beta, with the unbiased variance. Source: Webb et al., "Learning
    representations that support extrapolation", 2020, arXiv 2007.05059 (there over the objects of a sequence).
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    var, mean = torch.var_mean(z, dim=1, keepdim=True)
    return gamma * (z - mean) / torch.sqrt(var + 1e-8) + beta


def classifier(dim: int, classes: int, pool: str, *, device: Any = None, dtype: Any = None) -> nn.Module:
    """The classifier of a head, over features or, without pooling (""), over a map; the identity for 0 classes."""
    if not classes:
        return nn.Identity()
    if not pool:
        return nn.Conv2d(dim, classes, 1, device=device, dtype=dtype)
    return nn.Linear(dim, classes, device=device, dtype=dtype)


def power_norm(z: Tensor, eps: float = 1e-4) -> Tensor:
    """z / sqrt(|z| + eps) of each element, divided by its length over the last dimension.

    The root of |z| has an infinite slope at 0; this one has at most 1 / sqrt(eps) = 100, and fits float32.
    """
    return F.normalize(z / (z.abs() + eps).sqrt(), dim=-1)


@register_notrace_function
def uncast_product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product of `a` and `b` in their own dtype, also under autocast (the meta device has none)."""
    if not torch.jit.is_scripting() and not a.is_meta:
        with torch.autocast(a.device.type, enabled=False):
            return a @ b
    return a @ b


@register_notrace_function
def positions(x: Tensor, resolution: tuple[int, int]) -> Tensor:
    """The positions of a map as one axis: (B, C, H, W) -> (B, C, H W).

    Raises ValueError unless (H, W) is the resolution: weights over positions fit no other.
    """
    height, width = x.shape[2], x.shape[3]
    if (height, width) != resolution:
        raise ValueError(
            f"found a map of {height} x {width}; weights over positions were made for "
            f"{resolution[0]} x {resolution[1]}, and fit no other"
        )
    return x.flatten(2)
