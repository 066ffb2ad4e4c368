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
    if v["norm"] == "position_norm":
        return by_position(p, "norm", x, v["training"])
    if v["norm"] == "batchnorm2d":
        return batch_norm(p, "norm", x, v["training"])
    mean = x.mean(1, keepdim=True)
    variance = (x**2).mean(1, keepdim=True) - mean**2
    return (x - mean) * (variance + 1e-5) ** -0.5 * p["norm.weight"][:, None, None]


def by_position(p: dict[str, Tensor], name: str, x: Tensor, training: bool) -> Tensor:
    """Mean and variance over images and channels of each position; at inference those of before."""
    size = x.shape[2:]
    mean, variance = x.mean((0, 1)), x.var((0, 1), correction=0)
    if not training:
        mean, variance = (p[f"{name}.norm.running_{what}"].view(size) for what in ("mean", "var"))
    factors = p[f"{name}.norm.weight"].view(size) * p[f"{name}.weight"][:, None, None]
    return (x - mean) * (variance + 1e-5) ** -0.5 * factors


@oracle(
    "poly_mlp",
    {},
    {"interact": "sum"},
    {"expand": 1.75, "norm": None},
    {"norm": "batchnorm2d"},
    {"norm": "position_norm"},
)
def poly_mlp(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    hidden = p["w2.weight"].shape[1]
    a, b = (pointwise(p, "w1", x, rows) for rows in (slice(hidden), slice(hidden, None)))
    return pointwise(p, "w2", normed(p, join(v["interact"], a, b), **v))


@oracle(
    "poly_conv", {}, {"interact": "sum"}, {"kernel": 3, "expand": 0.75, "norm": None}, {"norm": "position_norm"}, dim=9
)
def poly_conv(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    b = pointwise(p, "w1", x)
    far, near = depthwise(p, "dw", b, v["dilation"]), depthwise(p, "dw2", b)
    across = torch.stack([near[:, -1 - channel] for channel in range(near.shape[1])], dim=1)
    return normed(p, pointwise(p, "w2", depthwise(p, "dw3", join(v["interact"], far, across))), **v)


@oracle(
    "poly_attention",
    {},
    {"heads": 3, "head_dim": 5, "kernel": 3},
    {"heads": 1, "head_dim": 4, "norm": "position_norm"},
    {"heads": 2, "head_dim": 3, "kernel": 1, "sums": "running"},  # small, as its values grow with the fourth power
)
def poly_attention(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    """With the matrix of similarities as the sum of its powers by the binomial theorem."""
    inner, size, running = p["q.weight"].shape[0], v["head_dim"], v["sums"] == "running"
    x = normed(p, x, **v)
    c, u = (pointwise(p, "w", x, rows) for rows in (slice(inner), slice(inner, None)))
    q, k, value = depthwise(p, "q", c).flatten(2), depthwise(p, "k", c).flatten(2), depthwise(p, "v", u).flatten(2)
    heads = []
    for head, s in enumerate(p["s"]):
        part = slice(head * size, (head + 1) * size)
        z = torch.einsum("bci,bcj->bij", q[:, part], k[:, part]) / (1 + torch.exp(-s))
        powers = 1 + 4 * z + 6 * z * z + 4 * z * z * z + z * z * z * z
        sums = powers.sum(2, keepdim=True)
        if running:
            mean = sums.mean(0) if v["training"] else p["sums.running_mean"][head]
            sums = (mean + 1e-6) / p["sums.gain"].view(len(p["s"]), -1, 1)[head]
        heads.append(torch.einsum("bij,bcj->bci", powers / sums, value[:, part]))
    out = depthwise(p, "dw", torch.cat(heads, dim=1).unflatten(2, x.shape[2:]))
    return pointwise(p, "project", by_position(p, "norm2", out, v["training"]) if running else out)
