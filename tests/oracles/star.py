"""Star: timm's StarNet block with copied weights where the form is the published one, else the written formula."""

from typing import Any

import torch
from timm.models.starnet import Block
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, batch_norm, depthwise, join, pointwise


@oracle(
    "star",
    {},
    {"interact": "sum"},
    {"interact": "one"},
    {"act_on": "none", "expand": 2},
    {"act_on": "both"},
    {"act_on": "after"},
    {"act_on": "both", "act": "silu", "kernel": 3, "norm": None},
)
def star(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    if v["interact"] == "mul" and v["act_on"] == "one" and v["act"] == "relu6":
        names = {"dw_in": "dwconv.conv", "norm_in": "dwconv.bn", "f1": "f1.conv", "f2": "f2.conv"}
        names |= {"g": "g.conv", "norm_out": "g.bn", "dw_out": "dwconv2.conv"}
        weights = {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in p.items()}
        timm_block = Block(x.shape[1], v["expand"]).to(x.dtype).train(v["training"])
        return torch.func.functional_call(timm_block, weights, x) - x

    def norm(h: Tensor, name: str) -> Tensor:
        return h if v["norm"] is None else batch_norm(p, name, h, v["training"])

    h = norm(depthwise(p, "dw_in", x), "norm_in")
    on, name = v["act_on"], v["act"]
    if v["interact"] == "one":
        joined = act(name, pointwise(p, "f1", h))
    else:
        a, b = pointwise(p, "f1", h), pointwise(p, "f2", h)
        joined = join(v["interact"], act(name, a) if on in ("one", "both") else a, act(name, b) if on == "both" else b)
        joined = act(name, joined) if on == "after" else joined
    return depthwise(p, "dw_out", norm(pointwise(p, "g", joined), "norm_out"))
