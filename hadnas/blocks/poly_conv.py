"""PolyConv: a mixer of positions by the product of two depthwise convolutions, without activations and biases."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import PlacedNorm, needs_no_resolution, placed_normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, odd, some_channels


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        some_channels("expand"),
        odd("kernel"),
        at_least("dilation", 1),
    ),
    unused=lambda v: (("dilation",) if v["kernel"] == 1 else ()) + needs_no_resolution(v),
)
class PolyConv(nn.Module):
    """Far and near neighbours of each position, multiplied across channels in opposite order.

    y = norm(W2 DW3(DW(b) * flip(DW2 b))),  b = W1 x

    W1, W2 pointwise C -> e C -> C, e C rounded down; DW depthwise k x k, dilated; DW2, DW3 depthwise 3 x 3; none has a
    bias. flip reverses the order of the channels, so that each is multiplied by another. The additive twin (`sum`) adds
    the two. Published without a norm in front of it.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: (2*C + kernel**2 + 18)*(expand*C//1) + weights(norm, C, N)
    MACs: (2*C + kernel**2 + 18)*(expand*C//1)*N
    Products: (expand*C//1)*N if interact == "mul" else 0
    Source: Wang, Gregory, Chrysos, "Activation-free backbones for image recognition: polynomial alternatives within
        MetaFormer-style vision models", 2026, arXiv 2605.20839; expand 1, or 0.75 in late stages, kernel 5, or 3 in the
        first stage, dilation 2 and the norm as in the authors' code.
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: float = 1.0,
        kernel: int = 5,
        dilation: int = 2,
        norm: PlacedNorm | None = "layernorm2d_no_bias_eps1e-5",
        interact: Literal["mul", "sum"] = "mul",
        resolution: tuple[int, int] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        reach = dilation * (kernel // 2)
        depthwise: dict[str, Any] = {"groups": hidden, "bias": False, **dd}
        self.w1 = nn.Conv2d(dim, hidden, 1, bias=False, **dd)
        self.dw = nn.Conv2d(hidden, hidden, kernel, padding=reach, dilation=dilation, **depthwise)
        self.dw2 = nn.Conv2d(hidden, hidden, 3, padding=1, **depthwise)
        self.dw3 = nn.Conv2d(hidden, hidden, 3, padding=1, **depthwise)
        self.w2 = nn.Conv2d(hidden, dim, 1, bias=False, **dd)
        self.norm = placed_normalisation(norm, dim, resolution, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        b = self.w1(x)
        far, near = self.dw(b), self.dw2(b).flip(1)
        return self.norm(self.w2(self.dw3(far * near if self.multiply else far + near)))
