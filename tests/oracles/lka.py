"""Large kernel attention, from its formula."""

from typing import Any

from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, join, pointwise

SMALL = {"kernel": 3, "dilated_kernel": 5, "dilation": 2}


@oracle("lka", {}, {"skip": True}, {"interact": "sum"}, SMALL, {**SMALL, "act": None})
def lka(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    u = act(v["act"], pointwise(p, "proj_in", x))
    around = pointwise(p, "pw", depthwise(p, "dwd", depthwise(p, "dw", u), v["dilation"]))
    y = pointwise(p, "proj_out", join(v["interact"], u, around))
    return x + y if v["skip"] else y
