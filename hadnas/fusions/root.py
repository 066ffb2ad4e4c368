"""The power norm after a product of features: a signed square root, then unit length."""

from torch import Tensor
from torch.nn import functional as F


def power_norm(z: Tensor, eps: float = 1e-4) -> Tensor:
    """z / sqrt(|z| + eps) of each element, divided by its length over the last dimension.

    The root of |z| has an infinite slope at 0; this one has at most 1 / sqrt(eps) = 100, and fits float32.
    """
    return F.normalize(z / (z.abs() + eps).sqrt(), dim=-1)
