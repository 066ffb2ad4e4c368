"""The convolutional gated linear unit, from its formula: two branches, each with its own rows of the weights."""

from typing import Any

from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, join, pointwise


@oracle("conv_glu", {}, {"expand": 2, "kernel": 5, "act": "silu"}, {"act": None}, {"interact": "sum"}, dim=9)
def conv_glu(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    hidden = p["g.weight"].shape[1]
    gate = depthwise(p, "dw", pointwise(p, "f", x, slice(hidden)))
    value = pointwise(p, "f", x, slice(hidden, None))
    return pointwise(p, "g", join(v["interact"], act(v["act"], gate), value))
