"""The convolutional block attention module: a channel gate, then a position gate."""

from typing import Any

from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, require


@block(
    family="hadamard",
    name="cbam",
    rules=(
        odd("kernel"),
        require(lambda v: 1 <= v["reduction"] <= v["dim"], "reduction = {reduction} must be between 1 and {dim}"),
    ),
)
class ChannelPositionGate(nn.Module):
    """Channel gate from mean and maximum over positions, then position gate from mean and maximum over channels.

    z = x * sigmoid(M(mean(x)) + M(max(x)));  y = z * sigmoid(BN(conv [mean_c(z); max_c(z)]))

    M = W2 relu W1 with W1, W2 pointwise C -> C // reduction -> C; conv k x k, 2 -> 1; no biases.

    Shapes: (B, C, H, W) -> (B, C, H, W); reduction <= C.
    Degree: 4 (nominal)
    Params: 2*C*(C//reduction) + 2*kernel**2 + 2
    MACs: 4*C*(C//reduction) + 2*kernel**2*N
    Products: 2*C*N
    Source: Woo et al., "CBAM", 2018, arXiv 1807.06521, equations 1 to 3.
    timm: timm.layers.cbam.CbamModule
    """

    def __init__(self, dim: int, *, reduction: int = 4, kernel: int = 7, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.attn = CbamModule(dim, rd_channels=dim // reduction, spatial_kernel_size=kernel, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x)
