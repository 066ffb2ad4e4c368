"""The universal inverted bottleneck of MobileNetV4."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, some_channels


@block(
    family="convolution",
    name="uib",
    rules=(some_channels("expand"), odd("start"), odd("middle")),
)
class UniversalInvertedBottleneck(nn.Module):
    """An inverted bottleneck with a depthwise convolution before the expansion, after it, both or neither.

    y = norm(W2 act(norm(DW2 act(norm(W1 norm(DW1 x))))))

    W1, W2 pointwise C -> e C -> C, e C rounded down; DW1 depthwise `start` x `start` on C channels, DW2 depthwise
    `middle` x `middle` on e C channels; with kernel None a depthwise convolution is left out, with its norm and
    activation. `start` alone is a ConvNeXt-like block, `middle` alone an inverted bottleneck, both the extra depthwise
    form, neither a feed-forward network. Convolutions have no bias.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 2*(expand*C//1)*C + weights(norm, expand*C//1) + weights(norm, C) + weights(act, expand*C//1)
        + (start**2*C + weights(norm, C) if start else 0)
        + (middle**2*(expand*C//1) + weights(norm, expand*C//1) + weights(act, expand*C//1) if middle else 0)
    MACs: (2*(expand*C//1)*C + (start**2*C if start else 0) + (middle**2*(expand*C//1) if middle else 0))*N
    Products: (2 if middle else 1)*products(act, (expand*C//1)*N)
    Source: Qin et al., "MobileNetV4", 2024, arXiv 2404.10518. Residual and LayerScale are outside.
    timm: timm.models._efficientnet_blocks.UniversalInvertedResidual
    """

    def __init__(
        self,
        dim: int,
        *,
        expand: int | float = 4,
        start: int | None = 3,
        middle: int | None = 3,
        act: Act = "relu",
        norm: Norm | None = "batchnorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        hidden = int(expand * dim)
        self.start: nn.Module = nn.Identity()
        if start is not None:
            dw = nn.Conv2d(dim, dim, start, padding=start // 2, groups=dim, bias=False, **dd)
            self.start = nn.Sequential(dw, normalisation(norm, dim, **dd))
        conv = nn.Conv2d(dim, hidden, 1, bias=False, **dd)
        self.expand = nn.Sequential(conv, normalisation(norm, hidden, **dd), activation(act, **dd))
        self.middle: nn.Module = nn.Identity()
        if middle is not None:
            dw = nn.Conv2d(hidden, hidden, middle, padding=middle // 2, groups=hidden, bias=False, **dd)
            self.middle = nn.Sequential(dw, normalisation(norm, hidden, **dd), activation(act, **dd))
        self.project = nn.Sequential(nn.Conv2d(hidden, dim, 1, bias=False, **dd), normalisation(norm, dim, **dd))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.middle(self.expand(self.start(x))))
