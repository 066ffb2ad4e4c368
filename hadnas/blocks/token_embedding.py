"""The stem of tokens: a learned vector for each token of the vocabulary, and one for each place."""

from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.registry import register


@register("stem", reads="tokens")
class TokenEmbedding(nn.Module):
    """A learned vector of each token plus one of its place, as a map with a position for each token.

    y_n = E[x_n] + p_n

    E has a row for each of the in_dim tokens of the vocabulary, p one for each place. Both start normally distributed,
    so that y has variance 1.

    Shapes: (B, H W) whole numbers below in_dim -> (B, C, H, W); tokens in a line have H = 1.
    Degree: 1
    Params: (in_dim + N)*C
    MACs: 0
    Products: 0
    Source: Vaswani et al., "Attention is all you need", 2017, arXiv 1706.03762, sections 3.4 and 3.5, with learned
        places.
    """

    def __init__(
        self, in_dim: int, dim: int, *, resolution: tuple[int, int], device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.token = nn.Embedding(in_dim, dim, device=device, dtype=dtype)
        self.place = nn.Parameter(torch.empty(resolution[0] * resolution[1], dim, device=device, dtype=dtype))
        self.init_weights()

    def init_weights(self) -> None:
        """Draw both tables; a model calls this after it has initialised its convolutions."""
        for table in (self.token.weight, self.place):
            nn.init.normal_(table, std=0.5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.token(x) + self.place
        return y.mT.reshape(x.shape[0], y.shape[2], *self.resolution)
