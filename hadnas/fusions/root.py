"""The power norm after a product of features: a signed square root, then unit length."""

from torch import Tensor
from torch.nn import functional as F

EPS = 1e-4
"""The root of |z| has an infinite slope at 0; that of |z| + EPS has none above 100, and fits float32."""


def power_norm(z: Tensor) -> Tensor:
    """z / sqrt(|z| + EPS) of each element, divided by its length over the last dimension."""
    return F.normalize(z / (z.abs() + EPS).sqrt(), dim=-1)
