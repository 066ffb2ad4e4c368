"""The InceptionNeXt block: a large depthwise kernel decomposed into a square and two bands."""

from typing import Any, Literal

from timm.models.inception_next import InceptionDWConv2d
from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, require, some_channels


@block(
    family="convolution",
    rules=(
        some_channels("expand"),
        odd("kernel"),
        odd("band"),
        require(lambda v: v["share"] <= v["dim"], "share = {share} must be at most dim = {dim}"),
    ),
)
class MetaNext(nn.Module):
    """Inception depthwise convolution, norm, pointwise MLP.

    y = W2 act(W1 norm([x0; DW x1; DWw x2; DWh x3])),  [x0; x1; x2; x3] = x

    x1, x2 and x3 have C // share channels each, x0 the rest; DW depthwise k x k, DWw 1 x band, DWh band x 1; W1, W2
    pointwise C -> e C -> C, e C rounded down.

    Shapes: (B, C, H, W) -> (B, C, H, W); share <= C.
    Degree: 1
    Params: 2*(expand*C//1)*C + (expand*C//1) + C + (C//share)*(kernel**2 + 2*band + 3) + weights(norm, C)
        + weights(act, expand*C//1)
    MACs: (2*(expand*C//1)*C + (C//share)*(kernel**2 + 2*band))*N
    Products: products(act, (expand*C//1)*N)
    Source: Yu et al., "InceptionNeXt", 2023, arXiv 2303.16900. Residual and LayerScale are outside.
    timm: timm.models.inception_next.MetaNeXtBlock
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int | float = 4,
        kernel: int = 3,
        band: int = 11,
        share: Literal[4, 8, 16] = 8,
        act: Act = "gelu",
        norm: Norm | None = "batchnorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.dw = InceptionDWConv2d(dim, kernel, band, 1 / share, **dd)
        self.norm = normalisation(norm, dim, **dd)
        hidden = int(expand * dim)
        self.w1 = nn.Conv2d(dim, hidden, 1, **dd)
        self.act = activation(act, **dd)
        self.w2 = nn.Conv2d(hidden, dim, 1, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(self.act(self.w1(self.norm(self.dw(x)))))
