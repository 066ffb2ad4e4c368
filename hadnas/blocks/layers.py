"""What ops share: activations and norms by name, precision, and maps of one fixed resolution."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from timm.layers import LayerNorm2d, create_act_layer, create_norm_layer
from timm.models.metaformer import GroupNorm1NoBias, LayerNorm2dNoBias, SquaredReLU, StarReLU
from torch import Tensor, nn

Act = Literal[
    "relu", "relu6", "leaky_relu", "elu", "tanh", "sigmoid", "hard_sigmoid",
    "silu", "gelu", "mish", "hard_swish", "quick_gelu", "star_relu", "squared_relu",
]  # fmt: skip
Norm = Literal[
    "batchnorm2d", "layernorm2d", "layernorm2d_eps1e-5", "layernorm2d_no_bias",
    "groupnorm1", "groupnorm1_no_bias", "rmsnorm2d",
]  # fmt: skip


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

    groupnorm1 adds 1e-5 to the variance, as does batchnorm2d; the others 1e-6 where their name says nothing.
    """
    if norm is None:
        return nn.Identity()
    if norm == "layernorm2d_eps1e-5":
        return LayerNorm2d(dim, eps=1e-5, device=device, dtype=dtype)
    if norm == "layernorm2d_no_bias":
        return LayerNorm2dNoBias(dim, device=device, dtype=dtype)
    if norm == "groupnorm1_no_bias":
        return GroupNorm1NoBias(dim, device=device, dtype=dtype)
    if norm == "rmsnorm2d":
        return RMSNorm2d(dim, eps=1e-6, device=device, dtype=dtype)
    return create_norm_layer(norm, dim, device=device, dtype=dtype)


class RMSNorm2d(nn.RMSNorm):
    """Root mean square norm over the channels of an NCHW map (Zhang and Sennrich, 2019, arXiv 1910.07467, equation 4).

    torch's own kernel, which computes in at least float32; timm's 2d form squares and multiplies in the dtype given.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def check_pool(pool: str, classes: int, *refused: str) -> None:
    """Raise ValueError for a pooling in `refused`, and for none ("") in front of a classifier."""
    if pool in refused or (classes and not pool):
        wanted = f"{classes} classes" if classes else "this head"
        raise ValueError(f"global_pool = {pool!r} is not allowed with {wanted}; avg, max or avgmax is")


def uncast(x: Tensor) -> AbstractContextManager[Any]:
    """Where matrix products keep the dtype of their factors: no autocast on the device of `x` (meta has none)."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def positions(x: Tensor, resolution: tuple[int, int]) -> Tensor:
    """The positions of a map side by side: (B, C, H, W) -> (B, C, H W).

    Raises ValueError unless (H, W) is the resolution, by which weights over positions are ordered.
    """
    if x.shape[2:] != resolution:
        found, allowed = (" x ".join(map(str, size)) for size in (x.shape[2:], resolution))
        raise ValueError(f"found a map of {found}; weights over positions were made for {allowed}, and fit no other")
    return x.flatten(2)
