"""Efficient modulation, from its formula, the context repeated as often as there are groups."""

from typing import Any

from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, join, pointwise


@oracle("efficient_modulation", {}, {"expand": 1, "kernel": 5}, {"act": None, "expand": 2}, {"interact": "sum"}, dim=6)
def efficient_modulation(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    context = pointwise(p, "g", act(v["act"], depthwise(p, "dw", pointwise(p, "f", x))))
    h = act(v["act"] if v["expand"] > 1 else None, pointwise(p, "w1", x))
    return pointwise(p, "w2", join(v["interact"], h, context.repeat(1, v["expand"], 1, 1)))
