"""VAN's attention: a map multiplied by its convolution with a decomposed large kernel."""

from typing import Any, Literal

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, odd


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(odd("kernel"), odd("dilated_kernel"), at_least("dilation", 1)),
    unused=lambda v: ("dilation",) if v["dilated_kernel"] == 1 else (),
)
class Lka(nn.Module):
    """Large kernel attention between two pointwise convolutions.

    u = act(P1 x);  y = P2(u * W(DWD(DW(u))))  [+ x with `skip`]

    P1, W, P2 pointwise C -> C; DW depthwise k x k; DWD depthwise, dilated: together they cover one kernel of
    k + dilation * (dilated_kernel - 1) pixels (23 as published). The factor W(...) is unbounded; the additive twin
    (`sum`) adds it. `skip` is the inner residual of the published network, over the normed input.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: 3*C**2 + (kernel**2 + dilated_kernel**2 + 5)*C + weights(act, C)
    MACs: (3*C**2 + (kernel**2 + dilated_kernel**2)*C)*H*W
    Products: (C*N if interact == "mul" else 0) + products(act, C*N)
    Source: Guo et al., "Visual attention network", 2022, arXiv 2202.09741, equations 1 and 2; `skip` as in the authors'
        released network.
    """

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 5,
        dilated_kernel: int = 7,
        dilation: int = 3,
        act: Act | None = "gelu",
        skip: bool = False,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        reach = dilation * (dilated_kernel // 2)
        self.proj_in = nn.Conv2d(dim, dim, 1, **dd)
        self.act = activation(act, **dd)
        self.dw = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.dwd = nn.Conv2d(dim, dim, dilated_kernel, padding=reach, dilation=dilation, groups=dim, **dd)
        self.pw = nn.Conv2d(dim, dim, 1, **dd)
        self.proj_out = nn.Conv2d(dim, dim, 1, **dd)
        self.skip = skip
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        u = self.act(self.proj_in(x))
        around = self.pw(self.dwd(self.dw(u)))
        y = self.proj_out(u * around if self.multiply else u + around)
        return x + y if self.skip else y
