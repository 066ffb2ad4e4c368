"""The blocks of PolyNeXt, from their formulas."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import batch_norm, depthwise, join, pointwise


def normed(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    """A LayerNorm over the channels without bias, the variance as the authors write it; or the norm asked for."""
    if v["norm"] is None:
        return x
    if v["norm"] == "batchnorm2d":
        return batch_norm(p, "norm", x, v["training"])
    mean = x.mean(1, keepdim=True)
    variance = (x**2).mean(1, keepdim=True) - mean**2
    return (x - mean) * (variance + 1e-5) ** -0.5 * p["norm.weight"][:, None, None]


@oracle("poly_mlp", {}, {"interact": "sum"}, {"expand": 1.75, "norm": None}, {"norm": "batchnorm2d"})
def poly_mlp(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    hidden = p["w2.weight"].shape[1]
    a, b = (pointwise(p, "w1", x, rows) for rows in (slice(hidden), slice(hidden, None)))
    return pointwise(p, "w2", normed(p, join(v["interact"], a, b), **v))


@oracle("poly_conv", {}, {"interact": "sum"}, {"kernel": 3, "expand": 0.75, "norm": None}, dim=9)
def poly_conv(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    b = pointwise(p, "w1", x)
    far, near = depthwise(p, "dw", b, v["dilation"]), depthwise(p, "dw2", b)
    across = torch.stack([near[:, -1 - channel] for channel in range(near.shape[1])], dim=1)
    return normed(p, pointwise(p, "w2", depthwise(p, "dw3", join(v["interact"], far, across))), **v)
