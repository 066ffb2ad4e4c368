"""Global response normalisation: each channel scaled by its norm relative to the mean norm of all channels."""

from typing import Any

from timm.layers.grn import GlobalResponseNorm
from torch import Tensor, nn

from hadnas.blocks.registry import block


@block(family="hadamard", name="grn")
class ResponseGate(nn.Module):
    """A map plus its product with the relative norms of its channels.

    y = x + gamma * x * n + beta,  n_c = |x_c| / (mean_c |x_c| + eps)

    |x_c| the L2 norm of channel c over positions; gamma, beta C learned values, initially 0; eps = 1e-6.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 (nominal)
    Params: 2*C
    MACs: 0
    Products: C*N
    Source: Woo et al., "ConvNeXt V2", 2023, arXiv 2301.00808, equations 1 to 3.
    timm: timm.layers.grn.GlobalResponseNorm
    """

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.grn = GlobalResponseNorm(dim, channels_last=False, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.grn(x)
