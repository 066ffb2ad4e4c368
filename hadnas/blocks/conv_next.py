"""The ConvNeXt block: a large depthwise convolution and a pointwise MLP."""

from typing import Any

from timm.layers.grn import GlobalResponseNorm
from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, some_channels


@block(family="convolution", rules=(some_channels("expand"), odd("kernel")))
class ConvNext(nn.Module):
    """Depthwise convolution, norm, pointwise MLP.

    y = W2 grn(act(W1 norm(DW x)))

    DW depthwise k x k; W1, W2 pointwise C -> e C -> C, e C rounded down; grn the global response normalisation of
    ConvNeXt V2 if `grn`, else the identity. The MLP uses 1 x 1 convolutions, as timm's `conv_mlp`.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 (nominal) if grn else 1
    Params: 2*(expand*C//1)*C + (kernel**2 + 2)*C + (expand*C//1) + weights(norm, C) + weights(act, expand*C//1)
        + (2*(expand*C//1) if grn else 0)
    MACs: (2*(expand*C//1)*C + kernel**2*C)*N
    Products: ((expand*C//1)*N if grn else 0) + products(act, (expand*C//1)*N)
    Source: Liu et al., "A ConvNet for the 2020s", 2022, arXiv 2201.03545, section 2; grn: Woo et al., "ConvNeXt V2",
        2023, arXiv 2301.00808, equations 1 to 3. Residual, LayerScale and DropPath are outside.
    timm: timm.models.convnext.ConvNeXtBlock
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int | float = 4,
        kernel: int = 7,
        act: Act = "gelu",
        norm: Norm | None = "layernorm2d",
        grn: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.dw = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, **dd)
        self.norm = normalisation(norm, dim, **dd)
        self.w1 = nn.Conv2d(dim, hidden, 1, **dd)
        self.act = activation(act, **dd)
        self.grn = GlobalResponseNorm(hidden, channels_last=False, **dd) if grn else nn.Identity()
        self.w2 = nn.Conv2d(hidden, dim, 1, **dd)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.w1(self.norm(self.dw(x))))
        return self.w2(self.grn(h))
