"""gnConv: the written recursion, one branch at a time, widths explicit."""

from typing import Any

from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import depthwise, join, pointwise


@oracle("gn_conv", {"order": 2}, {}, {"order": 4, "kernel": 3}, {"order": 5, "scale": 1.0}, {"interact": "sum"}, dim=16)
def gn_conv(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    first = width = x.shape[1] // 2 ** (v["order"] - 1)
    y = pointwise(p, "proj_in", x, slice(0, first))
    start = first
    for i in range(v["order"]):
        y = pointwise(p, f"g.{i - 1}", y) if i else y
        q = pointwise(p, "proj_in", x, slice(start, start + width))
        q = v["scale"] * depthwise(p, "dw", q, rows=slice(start - first, start - first + width))
        y = join(v["interact"], y, q)
        start, width = start + width, 2 * width
    return pointwise(p, "proj_out", y)
