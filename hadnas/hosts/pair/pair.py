"""The pair host: a network of two inputs."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.registry import register
from hadnas.hosts.pair.pair_host import PairHost
from hadnas.hosts.staged import init_weights

UNDECAYED = ("alpha", "c", "place")
"""Parameters without weight decay: scales in front of products, factors of a polynomial, vectors of places."""


@register("host", children={"left": "host", "right": "host", "fusion": "fusion", "head": "head"}, host=PairHost())
class Pair(nn.Module):
    """Two encoders, a fusion of their features, and a head.

    logits = head(fusion(left(x), right(z)))

    Without `right` the left encoder reads both inputs, with one set of weights. The fusion gets two maps or, if it
    reads vectors, their means over the positions.

    Shapes: two inputs (B, ...) -> (B, classes).
    """

    def __init__(
        self,
        *,
        left: nn.Module,
        right: nn.Module | None = None,
        fusion: nn.Module,
        head: Any,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.fusion = fusion
        self.head: Any = head  # an op of the role head, with the interface of pooled_linear
        self.num_classes: int = head.classes
        init_weights(self)

    def no_weight_decay(self) -> set[str]:
        """Scales and places: decay would pull the network towards its additive form."""
        return {name for name, _ in self.named_parameters() if name.rpartition(".")[2] in UNDECAYED}

    def get_classifier(self) -> nn.Module:
        """The last linear map."""
        return self.head.fc

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        a, b = self.left(x), (self.left if self.right is None else self.right)(z)
        y = self.fusion(a, b)
        return self.head(y if y.ndim == 4 else y[:, :, None, None])
