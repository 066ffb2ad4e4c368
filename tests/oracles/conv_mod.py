"""Convolutional modulation, from its formula."""

from typing import Any

from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, join, pointwise


@oracle("conv_mod", {"kernel": 5}, {"kernel": 3, "act": None}, {"kernel": 7, "interact": "sum"}, {})
def conv_mod(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    weights = depthwise(p, "dw", act(v["act"], pointwise(p, "a", x)))
    return pointwise(p, "proj", join(v["interact"], weights, pointwise(p, "v", x)))
