"""The star operation: two pointwise branches joined by a product."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, odd


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(at_least("expand", 1), odd("kernel")),
    unused=lambda v: ("act",) if v["act_on"] == "none" else (),
)
class Star(nn.Module):
    """Two pointwise expansions of one map, multiplied (`mul`), or added in the additive twin (`sum`).

    h = norm(DW(x));  y = DW'(norm(G(act(F1 h) * F2 h)))

    DW, DW' depthwise k x k convolutions; F1, F2 pointwise C -> e C; G pointwise e C -> C. `act_on` says which branch is
    activated: "one" (F1, as published), "both", "after" (the product) or "none".

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 3*expand*C**2 + 2*kernel**2*C + (2*expand + 3)*C + 2*weights(norm, C)
    MACs: (3*expand*C**2 + 2*kernel**2*C)*H*W
    Products: expand*C*H*W if interact == "mul" else 0
    Source: Ma et al., "Rewrite the stars", 2024, arXiv 2403.19967, section 3.1 and figure 4; the residual is outside.
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int = 4,
        kernel: int = 7,
        act: Act = "relu6",
        act_on: Literal["one", "both", "after", "none"] = "one",
        interact: Literal["mul", "sum"] = "mul",
        norm: Norm | None = "batchnorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = expand * dim
        self.dw_in = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.norm_in = normalisation(norm, dim, **dd)
        self.f1 = nn.Conv2d(dim, hidden, 1, **dd)
        self.f2 = nn.Conv2d(dim, hidden, 1, **dd)
        self.act1 = activation(act if act_on in ("one", "both") else None, **dd)
        self.act2 = activation(act if act_on == "both" else None, **dd)
        self.act_after = activation(act if act_on == "after" else None, **dd)
        self.g = nn.Conv2d(hidden, dim, 1, **dd)
        self.norm_out = normalisation(norm, dim, **dd)
        self.dw_out = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm_in(self.dw_in(x))
        a, b = self.act1(self.f1(h)), self.act2(self.f2(h))
        h = self.act_after(a * b if self.multiply else a + b)
        return self.dw_out(self.norm_out(self.g(h)))
