"""The merges, from their formulas."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, join, pointwise


@oracle("gated", {}, {"act": None}, {"act": "relu"}, {"interact": "sum"})
def gated(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    return a + join(v["interact"], act(v["act"], pointwise(p, "g", a)), b)


@oracle("highway", {}, {"carry": 0.0})
def highway(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    g = act("sigmoid", pointwise(p, "g", torch.cat((a, b), dim=1)))
    return g * a + (1 - g) * b
