"""The inverted bottleneck (MBConv) of the MobileNets and EfficientNets."""

from typing import Any

from timm.layers import SEModule
from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, require, some_channels


@block(
    family="convolution",
    rules=(
        some_channels("expand"),
        odd("kernel"),
        require(
            lambda v: v["squeeze"] is None or 1 <= v["squeeze"] <= v["dim"],
            "squeeze = {squeeze} must be None or between 1 and dim = {dim}",
        ),
    ),
)
class InvertedBottleneck(nn.Module):
    """Pointwise expansion, depthwise convolution, pointwise projection, each with its norm.

    y = norm(W2 se(act(norm(DW act(norm(W1 x))))))

    W1, W2 pointwise C -> e C -> C, e C rounded down; DW depthwise k x k; se squeeze-and-excitation h * sigmoid(V2
    relu(V1 mean(h))) with V1, V2 e C -> C // squeeze -> e C, or the identity for None. Convolutions have no bias, V1
    and V2 have one.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1 if squeeze is None else 2
    Params: 2*(expand*C//1)*C + kernel**2*(expand*C//1) + 2*weights(norm, expand*C//1) + weights(norm, C)
        + 2*weights(act, expand*C//1)
        + (0 if squeeze is None else 2*(expand*C//1)*(C//squeeze) + C//squeeze + (expand*C//1))
    MACs: (2*(expand*C//1)*C + kernel**2*(expand*C//1))*N + (0 if squeeze is None else 2*(expand*C//1)*(C//squeeze))
    Products: (0 if squeeze is None else (expand*C//1)*N) + products(act, 2*(expand*C//1)*N)
    Source: Sandler et al., "MobileNetV2", 2018, arXiv 1801.04381, section 3.3; se: Tan and Le, "EfficientNet", 2019,
        arXiv 1905.11946, section 4. The residual is outside; the width inside se is not rounded and its activation is
        always ReLU.
    timm: timm.models._efficientnet_blocks.InvertedResidual
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int | float = 4,
        kernel: int = 3,
        act: Act = "relu6",
        norm: Norm | None = "batchnorm2d",
        squeeze: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.w1 = nn.Conv2d(dim, hidden, 1, bias=False, **dd)
        self.norm1 = normalisation(norm, hidden, **dd)
        self.act1 = activation(act, **dd)
        self.dw = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=False, **dd)
        self.norm2 = normalisation(norm, hidden, **dd)
        self.act2 = activation(act, **dd)
        self.se = nn.Identity() if squeeze is None else SEModule(hidden, rd_channels=dim // squeeze, **dd)
        self.w2 = nn.Conv2d(hidden, dim, 1, bias=False, **dd)
        self.norm3 = normalisation(norm, dim, **dd)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.norm1(self.w1(x)))
        h = self.se(self.act2(self.norm2(self.dw(h))))
        return self.norm3(self.w2(h))
