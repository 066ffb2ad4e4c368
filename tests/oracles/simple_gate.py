"""NAFNet's simple gate and channel attention, from its formula, half by half and channel by channel."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import depthwise, join, pointwise


@oracle("simple_gate", {}, {"expand": 1.5, "kernel": 5}, {"interact": "sum"}, dim=9)
def simple_gate(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    hidden = p["w.weight"].shape[0]
    halves = [slice(hidden), slice(hidden, None)]
    a, b = (depthwise(p, "dw", pointwise(p, "f", x, half), rows=half) for half in halves)
    z = join(v["interact"], a, b)
    means = z.flatten(2).sum(2) / (x.shape[2] * x.shape[3])
    maps = []
    for c in range(hidden):
        scale = p["w.bias"][c] + sum(p["w.weight"][c, i, 0, 0] * means[:, i] for i in range(hidden))
        maps.append(join(v["interact"], z[:, c], scale[:, None, None]))
    return pointwise(p, "g", torch.stack(maps, dim=1))
