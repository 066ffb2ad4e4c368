"""Restormer's feed-forward network, from its formula: two branches, each with its own rows of the weights."""

from typing import Any

from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, join, pointwise


@oracle("gdfn", {}, {"expand": 2, "kernel": 5, "act": "silu"}, {"act": None}, {"interact": "sum"}, dim=9)
def gdfn(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    hidden = p["g.weight"].shape[1]
    halves = [slice(hidden), slice(hidden, None)]
    gate, value = (depthwise(p, "dw", pointwise(p, "f", x, half), rows=half) for half in halves)
    return pointwise(p, "g", join(v["interact"], act(v["act"], gate), value))
