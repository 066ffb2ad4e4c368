"""NAFNet's block without activations: the product of two halves, scaled by a linear function of its own means."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, some_channels


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        odd("kernel"),
        some_channels("expand"),
    ),
)
class SimpleGate(nn.Module):
    """Simple gate and simplified channel attention: all nonlinearity is by products.

    [a; b] = DW(F x);  z = a * b;  y = G(z * (W mean(z)))

    F pointwise C -> 2 e C, DW depthwise k x k over 2 e C, W pointwise e C -> e C, G pointwise e C -> C, e C rounded
    down; mean over positions. The additive twin (`sum`) has sums for both products, and is linear. The gate without the
    attention is `gdfn`, and without the convolution `glu`, both with act None.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 4 if interact == "mul" else 1
    Params: 3*C*(expand*C//1) + (expand*C//1)**2 + (2*kernel**2 + 5)*(expand*C//1) + C
    MACs: (3*C*(expand*C//1) + 2*kernel**2*(expand*C//1))*H*W + (expand*C//1)**2
    Products: 2*(expand*C//1)*N if interact == "mul" else 0
    Source: Chen et al., "Simple baselines for image restoration", 2022, arXiv 2204.04676, section 4: the first half of
        its block, with expand 1 and kernel 3; norm and residual are outside. The second half is `glu` with act None
        and expand 1.
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: float = 1.0,
        kernel: int = 3,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.f = nn.Conv2d(dim, 2 * hidden, 1, **dd)
        self.dw = nn.Conv2d(2 * hidden, 2 * hidden, kernel, padding=kernel // 2, groups=2 * hidden, **dd)
        self.w = nn.Conv2d(hidden, hidden, 1, **dd)
        self.g = nn.Conv2d(hidden, dim, 1, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.dw(self.f(x)).chunk(2, dim=1)
        z = a * b if self.multiply else a + b
        scale = self.w(z.mean((2, 3), keepdim=True))
        return self.g(z * scale if self.multiply else z + scale)
