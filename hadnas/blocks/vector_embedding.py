"""The stem of a vector: a linear map of its numbers to the channels of one position."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.registry import register


@register("stem", reads="vector", resize=lambda size, values: 1)
class VectorEmbedding(nn.Module):
    """A linear map of a vector, as a map of one position: what follows mixes its channels.

    y = W x + b

    Shapes: (B, in_dim) -> (B, C, 1, 1).
    Degree: 1
    Params: (in_dim + 1)*C
    MACs: in_dim*C
    Products: 0
    Source: the first layer of Gorishniy et al., "Revisiting deep learning models for tabular data", 2021, arXiv
        2106.11959, section 3.2.
    """

    def __init__(self, in_dim: int, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)[:, :, None, None]
