"""The head of a relation network: a perceptron on every pair of cells, their mean, and a perceptron on that."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import classifier, context_norm
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, on_map, within


@register("head", rules=(at_least("hidden", 1), within("dropout", 0.0, 0.99), on_map("grid")))
class PairwiseMlp(nn.Module):
    """A perceptron g that reads two cells of a grid, its mean over all pairs, and a perceptron f.

    logits = V dropout(f(1 / T^2 sum_ij g(u_i, u_j))),  u_i = z_i + e_i
    g(a, b) = relu(W2 relu(L a + R b)),  f(p) = relu(W3 p)

    z the T = grid^2 cells of the map after average pooling, C channels each; e learned, one for each cell; L and R
    C -> hidden, W2 and W3 hidden -> hidden, V hidden -> classes. With `context`, mean and variance of each channel
    over the cells of an image normalise z first, as in `corelnet`, with learned gamma and beta.

    Shapes: (B, C, H, W) -> (B, classes); grid <= H, W. With classes = 0 the hidden features; after `reset` to pool ""
        a map of C or of the classes.
    Degree: 1
    Params: grid**2*C + (2*C if context else 0) + 2*C*hidden + hidden + 2*(hidden + 1)*hidden + (hidden + 1)*classes
    MACs: 2*grid**2*C*hidden + grid**4*hidden**2 + hidden**2 + hidden*classes
    Products: 0
    Source: Santoro et al., "A simple neural network module for relational reasoning", 2017, arXiv 1706.01427,
        equation 1; there coordinates mark the cells, g has four layers and f three, and g is summed. `context`: Webb
        et al., "Learning representations that support extrapolation", 2020, arXiv 2007.05059.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        grid: int = 4,
        hidden: int = 64,
        context: bool = False,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.dim, self.grid, self.hidden = dim, grid, hidden
        self.paired = True
        self.gamma = nn.Parameter(torch.ones(dim, **dd)) if context else None
        self.beta = nn.Parameter(torch.zeros(dim, **dd)) if context else None
        self.place = nn.Parameter(torch.empty(grid**2, dim, **dd))
        self.left = nn.Linear(dim, hidden, **dd)
        self.right = nn.Linear(dim, hidden, bias=False, **dd)
        self.pair = nn.Linear(hidden, hidden, **dd)
        self.whole = nn.Linear(hidden, hidden, **dd)
        self.drop = nn.Dropout(dropout)
        self.fc: nn.Module = nn.Identity()
        self.reset(classes, **dd)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw the places; a model calls this after it has initialised its linear maps."""
        nn.init.normal_(self.place, std=0.5**0.5)

    def reset(self, classes: int, pool: str | None = None, *, device: Any = None, dtype: Any = None) -> None:
        """Set the number of classes (0: none); with pool "" pairs are off, with any other they are on.

        Without pairs each position is classified separately.
        """
        self.classes = classes
        if pool is not None:
            self.paired = bool(pool)
        self.hidden_size = self.hidden if self.paired else self.dim
        self.fc = classifier(self.hidden_size, classes, "grid" if self.paired else "", device=device, dtype=dtype)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        features = self.drop(self.compare(x) if self.paired else x)
        return features if pre_logits else self.fc(features)

    def compare(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, hidden): features of all pairs of the grid's cells."""
        z = F.adaptive_avg_pool2d(x, self.grid).flatten(2).transpose(1, 2)
        gamma, beta = self.gamma, self.beta
        if gamma is not None and beta is not None:
            z = context_norm(z, gamma, beta).to(x.dtype)
        z = z + self.place
        pairs = (self.left(z).unsqueeze(2) + self.right(z).unsqueeze(1)).relu()
        return self.whole(self.pair(pairs).relu().mean((1, 2))).relu()
