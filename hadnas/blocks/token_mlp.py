"""The token MLP of MLP-Mixer: maps every position to every other by learned weights."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, activation, positions
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least


@block(family="additive", rules=(at_least("hidden", 1),))
class TokenMlp(nn.Module):
    """Two linear layers over the positions, the same for all channels, with an activation between them.

    y_c = W2 act(W1 x_c),  x_c the H W positions of channel c

    W1 N -> hidden, W2 hidden -> N, with N = H W. The map's size is fixed by `resolution`.

    Shapes: (B, C, H, W) -> (B, C, H, W) at (H, W) = resolution only.
    Degree: 1
    Params: 2*hidden*N + hidden + N + weights(act, hidden)
    MACs: 2*hidden*C*N
    Products: products(act, hidden*C)
    Source: Tolstikhin et al., "MLP-Mixer", 2021, arXiv 2105.01601, equation 1; `hidden` is its D_S.
    timm: timm.models.mlp_mixer.MixerBlock
    """

    def __init__(
        self,
        dim: int,
        *,
        resolution: tuple[int, int],
        hidden: int = 64,
        act: Act = "gelu",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.resolution = resolution
        tokens = resolution[0] * resolution[1]
        self.w1 = nn.Linear(tokens, hidden, **dd)
        self.act = activation(act, **dd)
        self.w2 = nn.Linear(hidden, tokens, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(self.act(self.w1(positions(x, self.resolution)))).reshape(x.shape)
