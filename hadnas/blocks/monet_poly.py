"""MONet's Poly-Block: two Mu-layers and their residuals under one shared norm."""

from typing import Any, Literal

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from hadnas.blocks.layers import Norm, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, odd, require, within


def shift_quarters(x: Tensor) -> Tensor:
    """Four quarters of the channels shifted by one pixel down, up, right and left; the border is repeated.

    Not in place: a shift down or right, written into its own input, would copy the first row or column over the map.
    """
    dim = x.shape[1]
    down, up, right, left = x.tensor_split((dim // 4, dim // 2, dim * 3 // 4), dim=1)
    quarters = (
        torch.cat((down[:, :, :1], down[:, :, :-1]), dim=2),
        torch.cat((up[:, :, 1:], up[:, :, -1:]), dim=2),
        torch.cat((right[..., :1], right[..., :-1]), dim=3),
        torch.cat((left[..., 1:], left[..., -1:]), dim=3),
    )
    return torch.cat(quarters, dim=1)


def depthwise(dim: int, kernel: int, **dd: Any) -> nn.Module:
    """A depthwise k x k convolution without bias, the identity for kernel 1."""
    if kernel == 1:
        return nn.Identity()
    return nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False, **dd)


class MuLayer(nn.Module):
    """y = O (u + alpha * u * w), u = norm(sh(U1 x)), w = norm(U3 sh(U2 x)); sh shifts, convolves, both or neither."""

    def __init__(
        self,
        dim: int,
        hidden: int,
        reduction: int,
        alpha: float,
        shifted: bool,
        kernel: int,
        multiply: bool,
        norm: Norm | None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.u1 = nn.Conv2d(dim, hidden, 1, **dd)
        self.u2 = nn.Conv2d(dim, hidden // reduction, 1, **dd)
        self.u3 = nn.Conv2d(hidden // reduction, hidden, 1, **dd)
        self.dw1 = depthwise(hidden, kernel, **dd)
        self.dw2 = depthwise(hidden // reduction, kernel, **dd)
        self.norm1 = normalisation(norm, hidden, **dd)
        self.norm3 = normalisation(norm, hidden, **dd)
        self.alpha = nn.Parameter(torch.full((), alpha, **dd))
        self.o = nn.Conv2d(hidden, dim, 1, **dd)
        self.shifted = shifted
        self.multiply = multiply
        self.init_weights()

    def init_weights(self) -> None:
        """Set the inner biases to 1, as published; a model calls this after it has initialised its convolutions."""
        for inner in (self.u1, self.u2, self.u3):
            nn.init.ones_(inner.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        u, w = self.u1(x), self.u2(x)
        if self.shifted:
            u, w = shift_quarters(u), shift_quarters(w)
        u, w = self.norm1(self.dw1(u)), self.norm3(self.u3(self.dw2(w)))
        return self.o(u + self.alpha * (u * w if self.multiply else w))


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        at_least("expand", 1),
        odd("kernel"),
        require(lambda v: 1 <= v["reduction"] <= v["dim"], "reduction = {reduction} must be between 1 and dim = {dim}"),
        require(
            lambda v: v["norm"] != "batchnorm2d",
            "norm = {norm}: the shared norm would average the statistics of two maps; any other or none is allowed",
        ),
        within("drop_path", 0.0, 0.99),
    ),
)
class MonetPoly(nn.Module):
    """Two Mu-layers, activation-free: one mixes positions by a shift, one mixes channels. It has its own residuals.

    z = x + Mu_s(n(x));  y = z + Mu_c(n(z));  Mu(x) = O (u + alpha * u * w), u = n1(sh(U1 x)), w = n3(U3 sh(U2 x))

    n is one norm, shared; U1 pointwise C -> h, U2 C -> h // reduction, U3 back to h, O h -> C; h = C in Mu_s and e C in
    Mu_c; sh, in Mu_s only, shifts quarters of the channels by one pixel each way with `shift`, followed by a depthwise
    k x k convolution if kernel > 1. The additive twin (`sum`) is O (u + alpha * w). A stage contains it directly,
    without a residual node.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 4 if interact == "mul" else 1
    Params: (2 + 2*expand)*C**2 + 2*C*(C//reduction) + (1 + expand)*C*(expand*C//reduction) + (4 + 2*expand)*C
        + C//reduction + expand*C//reduction + 2 + 3*weights(norm, C) + 2*weights(norm, expand*C)
        + (kernel**2*(C + C//reduction) if kernel > 1 else 0)
    MACs: ((2 + 2*expand)*C**2 + 2*C*(C//reduction) + (1 + expand)*C*(expand*C//reduction)
        + (kernel**2*(C + C//reduction) if kernel > 1 else 0))*H*W
    Products: (1 + expand)*C*H*W if interact == "mul" else 0
    Source: Cheng et al., "Multilinear operator networks", 2024, arXiv 2401.17992, section 3; here the shift is not in
        place, and the weights are initialised as those of every other op.
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int = 3,
        reduction: int = 8,
        shift: bool = True,
        kernel: int = 1,
        alpha: float = 1.0,
        interact: Literal["mul", "sum"] = "mul",
        norm: Norm | None = "layernorm2d",
        drop_path: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        multiply = interact == "mul"
        self.norm = normalisation(norm, dim, **dd)
        self.spatial = MuLayer(dim, dim, reduction, alpha, shift, kernel, multiply, norm, **dd)
        self.channel = MuLayer(dim, expand * dim, reduction, alpha, False, 1, multiply, norm, **dd)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        z = x + self.drop_path(self.spatial(self.norm(x)))
        return z + self.drop_path(self.channel(self.norm(z)))
