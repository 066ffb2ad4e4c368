"""The star operation: two pointwise branches joined by a product or a sum, or one wider branch as a control."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, require, some_channels


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        some_channels("expand"),
        odd("kernel"),
        require(
            lambda v: v["interact"] != "one" or int(v["expand"] * v["dim"]) % 2 == 0,
            "expand * dim = {expand} * {dim}, rounded down, must be even for interact = 'one'",
        ),
        require(
            lambda v: v["interact"] != "one" or v["act_on"] in ("one", "none"),
            "act_on = {act_on!r} must be 'one' or 'none' for interact = 'one'",
        ),
    ),
    unused=lambda v: ("act",) if v["act_on"] == "none" else (),
)
class Star(nn.Module):
    """Two pointwise expansions of one map, multiplied (`mul`), or added in the additive twin (`sum`).

    h = norm(DW(x));  y = DW'(norm(G(act(F1 h) * F2 h)))

    With `one` there is no second branch: F1 is 3/2 as wide, with the same weights and MACs (the control).

    DW, DW' depthwise k x k convolutions; F1, F2 pointwise C -> e C, rounded down; G pointwise e C -> C. `act_on`
    chooses the activated branch: "one" (F1, as published), "both", "after" (the product) or "none".

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 3*(expand*C//1)*C + 2*kernel**2*C + 3*C + (3*(expand*C//1)//2 if interact == "one" else 2*(expand*C//1))
        + 2*weights(norm, C) + (0 if act_on == "none" else 2 if act_on == "both" else 1)*weights(act, C)
    MACs: (3*(expand*C//1)*C + 2*kernel**2*C)*H*W
    Products: ((expand*C//1)*N if interact == "mul" else 0) + (0 if act_on == "none" else 2 if act_on == "both" else 1)
        * products(act, (3*(expand*C//1)//2)*N if interact == "one" else (expand*C//1)*N)
    Source: Ma et al., "Rewrite the stars", 2024, arXiv 2403.19967, section 3.1 and figure 4; the residual is outside.
    timm: timm.models.starnet.Block
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int | float = 4,
        kernel: int = 7,
        act: Act = "relu6",
        act_on: Literal["one", "both", "after", "none"] = "one",
        interact: Literal["mul", "sum", "one"] = "mul",
        norm: Norm | None = "batchnorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim) * 3 // 2 if interact == "one" else int(expand * dim)
        self.dw_in = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.norm_in = normalisation(norm, dim, **dd)
        self.f1 = nn.Conv2d(dim, hidden, 1, **dd)
        self.f2 = nn.Identity() if interact == "one" else nn.Conv2d(dim, hidden, 1, **dd)
        self.act1 = activation(act if act_on in ("one", "both") else None, **dd)
        self.act2 = activation(act if act_on == "both" else None, **dd)
        self.act_after = activation(act if act_on == "after" else None, **dd)
        self.g = nn.Conv2d(hidden, dim, 1, **dd)
        self.norm_out = normalisation(norm, dim, **dd)
        self.dw_out = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.interact = interact

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm_in(self.dw_in(x))
        a = self.act1(self.f1(h))
        if self.interact != "one":
            b = self.act2(self.f2(h))
            a = self.act_after(a * b if self.interact == "mul" else a + b)
        return self.dw_out(self.norm_out(self.g(a)))
