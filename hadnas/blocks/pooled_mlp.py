"""Global pooling and a classifier with one hidden layer."""

from typing import Any, Literal, get_args

from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, classifier, normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, within

CENTRED = frozenset(get_args(Norm)) - {"batchnorm2d", "rmsnorm2d"}
"""Norms that subtract the mean over the channels of an image, which cancels a number added to all of them."""


@register(
    "head",
    rules=(at_least("expand", 1), within("dropout", 0.0, 0.99)),
    idle=lambda v: ("act.bias",) if v["act"] == "star_relu" and v["norm"] in CENTRED else (),
)
class PooledMlp(nn.Module):
    """Pool over positions, norm, hidden layer with activation and norm, linear map.

    y = W2 dropout(norm'(act(W1 norm(pool(x)) + b1))) + b2,  W1 C -> e C, W2 e C -> classes

    Both norms are of the kind `norm`.

    Shapes: (B, dim, H, W) -> (B, classes); with classes = 0 the hidden features; after `reset` to pool "" a map of
        either.
    Degree: 1
    Params: expand*C**2 + expand*C + weights(norm, C) + weights(norm, expand*C) + weights(act, expand*C)
        + (expand*C + 1)*classes
    MACs: expand*C**2 + expand*C*classes
    Products: products(act, expand*C)
    Source: Yu et al., "MetaFormer baselines for vision", 2022, arXiv 2210.13452 (act squared_relu); with gelu: Yu and
        Wang, "MambaOut", 2024, arXiv 2405.07992.
    timm: timm.models.mambaout.MlpHead
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        expand: int = 4,
        act: Act = "gelu",
        norm: Norm | None = "layernorm2d",
        pool: Literal["avg", "max", "avgmax"] = "avg",
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.hidden_size = expand * dim
        self.pool = SelectAdaptivePool2d(pool_type=pool)
        self.norm = normalisation(norm, dim, **dd)
        self.hidden = nn.Conv2d(dim, self.hidden_size, 1, **dd)
        self.act = activation(act, **dd)
        self.hidden_norm = normalisation(norm, self.hidden_size, **dd)
        self.drop = nn.Dropout(dropout)
        self.fc: nn.Module = nn.Identity()
        self.reset(classes, **dd)

    def reset(self, classes: int, pool: str | None = None, *, device: Any = None, dtype: Any = None) -> None:
        """Set the number of classes (0: none) and, if given, the pooling ("": none).

        Without pooling each position is classified separately. Raises ValueError for a pooling of another width.
        """
        if pool == "catavgmax":
            raise ValueError(f"global_pool = {pool!r} is not allowed with this head; avg, max, avgmax or none ('') is")
        self.classes = classes
        if pool is not None:
            self.pool = SelectAdaptivePool2d(pool_type=pool)
        self.fc = classifier(self.hidden_size, classes, self.pool.pool_type, device=device, dtype=dtype)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.hidden_norm(self.act(self.hidden(self.norm(self.pool(x)))))
        x = self.drop(x.flatten(1) if self.pool.pool_type else x)
        return x if pre_logits else self.fc(x)
