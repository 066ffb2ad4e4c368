"""The merges, from their formulas."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, batch_norm, depthwise, join, pointwise


@oracle("gated", {}, {"act": None}, {"act": "relu"}, {"interact": "sum"})
def gated(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    return a + join(v["interact"], act(v["act"], pointwise(p, "g", a)), b)


@oracle("highway", {}, {"carry": 0.0}, {"interact": "sum"}, {"kernel": 3})
def highway(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    both = torch.cat((a, b), dim=1)
    g = act("sigmoid", pointwise(p, "g", depthwise(p, "dw", both) if v["kernel"] > 1 else both))
    return g * a + (1 - g) * b if v["interact"] == "mul" else g + a + b


PI = {"alpha": 1.0, "norm": "batchnorm2d"}


@oracle(
    "product",
    {},
    {"project": True},
    PI,
    {**PI, "project": True},
    {**PI, "interact": "sum"},
    {"norm": "layernorm2d"},
    {"norm": "rmsnorm2d"},
)
def product(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    """With a batch norm and alpha = 1 the residual of Pi-nets, f + s + BN(P(f * s))."""
    ab = join(v["interact"], a, b)
    ab = pointwise(p, "project", ab) if v["project"] else ab
    if v["norm"] == "batchnorm2d":
        ab = batch_norm(p, "norm", ab, v["training"])
    elif v["norm"] == "layernorm2d":
        ab = (ab - ab.mean(1, keepdim=True)) / torch.sqrt(ab.var(1, correction=0, keepdim=True) + 1e-6)
        ab = ab * p["norm.weight"][:, None, None] + p["norm.bias"][:, None, None]
    elif v["norm"] == "rmsnorm2d":
        ab = ab / torch.sqrt((ab**2).mean(1, keepdim=True) + 1e-6) * p["norm.weight"][:, None, None]
    return a + b + p["alpha"] * ab


@oracle("weighted_sum")
def weighted_sum(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    share = 1 / (1 + torch.exp(p["v"][1] - p["v"][0]))
    return share * a + (1 - share) * b


@oracle("concat")
def concat(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    dim = a.shape[1]
    left, right = p["w.weight"][:, :dim, 0, 0], p["w.weight"][:, dim:, 0, 0]
    return torch.einsum("oi,bihw->bohw", left, a) + torch.einsum("oi,bihw->bohw", right, b) + p["w.bias"][:, None, None]


@oracle("sigmoid_scale", {}, {"share": 0.25})
def sigmoid_scale(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    return a + b / (1 + torch.exp(-p["w"]))
