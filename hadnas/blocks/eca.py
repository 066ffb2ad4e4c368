"""The efficient channel attention gate: each channel scaled by the means of its neighbouring channels."""

from typing import Any

from timm.layers import EcaModule
from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd


@block(family="hadamard", name="eca", rules=(odd("kernel"),))
class EfficientChannelGate(nn.Module):
    """Channel gate: a convolution along the channels of the global mean.

    y = x * sigmoid(w conv mean(x))

    mean over positions; w one kernel of `kernel` weights that slides along the channels (zero padding, no bias).

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2
    Params: kernel
    MACs: kernel*C
    Products: C*N
    Source: Wang et al., "ECA-Net", 2019, arXiv 1910.03151; the kernel is given, not derived from C.
    timm: timm.layers.EcaModule
    """

    def __init__(self, dim: int, *, kernel: int = 3, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.eca = EcaModule(kernel_size=kernel, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.eca(x)
