"""A relational head: it classifies an image by the similarities of its cells only."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import classifier, context_norm, uncast_product
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, on_map, within


@register("head", name="corelnet", rules=(at_least("hidden", 1), within("dropout", 0.0, 0.99), on_map("grid")))
class CoreLnet(nn.Module):
    """Similarities between the cells of a grid, and a perceptron that reads only them.

    logits = W2 dropout(relu(W1 vec(R))),  R = softmax_rows(Z Z^T / s);  with `mirror` R = L + strictly_lower(L)^T
    Z = gamma * (z - mean(z)) / sqrt(var(z) + 1e-8) + beta

    z the T = grid^2 cells of the map after average pooling, C channels each; mean and (unbiased) variance over the
    cells of an image; gamma, beta learned per channel; s = C if `scaled`, else 1. W1 T^2 -> hidden, W2 hidden ->
    classes. L is softmax_rows with each row's softmax over the cells up to its own, as in the authors' code. Relations
    are computed in at least float32, also under autocast.

    Shapes: (B, C, H, W) -> (B, classes); grid <= H, W. With classes = 0 the hidden features; after `reset` to pool ""
        a map of C or of the classes.
    Degree: 2 (nominal)
    Params: 2*C + grid**4*hidden + hidden + (hidden + 1)*classes
    MACs: grid**4*(C + hidden) + hidden*classes
    Products: 0
    Source: Kerg et al., "On neural architecture inductive biases for relational tasks", 2022, arXiv 2206.05056
        (CoRelNet); there s = 1, with which the softmax of wide cells starts saturated, since a cell's similarity to
        itself grows with C.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        grid: int = 4,
        hidden: int = 256,
        scaled: bool = True,
        mirror: bool = False,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.dim, self.grid, self.hidden, self.scaled, self.mirror = dim, grid, hidden, scaled, mirror
        self.related = True
        self.gamma = nn.Parameter(torch.ones(dim, **dd))
        self.beta = nn.Parameter(torch.zeros(dim, **dd))
        self.relations = nn.Linear(grid**4, hidden, **dd)
        self.drop = nn.Dropout(dropout)
        self.fc: nn.Module = nn.Identity()
        self.reset(classes, **dd)

    def reset(self, classes: int, pool: str | None = None, *, device: Any = None, dtype: Any = None) -> None:
        """Set the number of classes (0: none); with pool "" relations are off, with any other they are on.

        Without relations each position is classified separately.
        """
        self.classes = classes
        if pool is not None:
            self.related = bool(pool)
        self.hidden_size = self.hidden if self.related else self.dim
        self.fc = classifier(self.hidden_size, classes, "grid" if self.related else "", device=device, dtype=dtype)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        features = self.drop(self.relate(x) if self.related else x)
        return features if pre_logits else self.fc(features)

    def relate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, hidden): features of the relations of the grid's cells."""
        z = F.adaptive_avg_pool2d(x, self.grid).flatten(2).transpose(1, 2)
        z = context_norm(z, self.gamma, self.beta)
        likeness = uncast_product(z, z.transpose(1, 2)) / (self.dim if self.scaled else 1)
        if self.mirror:
            likeness = likeness + torch.full_like(likeness, -torch.inf).triu(1)
        r = likeness.softmax(dim=2)
        if self.mirror:
            r = r + r.tril(-1).transpose(1, 2)
        return self.relations(r.flatten(1).to(x.dtype)).relu()
