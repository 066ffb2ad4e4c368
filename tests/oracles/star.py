"""Star: timm's StarNet block with copied weights where the form is the published one, else the written formula."""

from typing import Any

import torch
from timm.models.starnet import Block
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle


@oracle(
    "star",
    {},
    {"interact": "sum"},
    {"interact": "one"},
    {"act_on": "none", "expand": 2},
    {"act_on": "both"},
    {"act_on": "after"},
)
def star(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    if v["interact"] == "mul" and v["act_on"] == "one" and v["act"] == "relu6":
        names = {"dw_in": "dwconv.conv", "norm_in": "dwconv.bn", "f1": "f1.conv", "f2": "f2.conv"}
        names |= {"g": "g.conv", "norm_out": "g.bn", "dw_out": "dwconv2.conv"}
        weights = {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in p.items()}
        timm_block = Block(x.shape[1], v["expand"]).to(x.dtype).eval()
        return torch.func.functional_call(timm_block, weights, x) - x

    def norm(h: Tensor, name: str) -> Tensor:
        mean, var = p[f"{name}.running_mean"], p[f"{name}.running_var"]
        return F.batch_norm(h, mean, var, p[f"{name}.weight"], p[f"{name}.bias"])

    def depthwise(h: Tensor, name: str) -> Tensor:
        return F.conv2d(h, p[f"{name}.weight"], p[f"{name}.bias"], padding=v["kernel"] // 2, groups=h.shape[1])

    def pointwise(h: Tensor, name: str) -> Tensor:
        return torch.einsum("oi,bihw->bohw", p[f"{name}.weight"][:, :, 0, 0], h) + p[f"{name}.bias"][:, None, None]

    def relu6(h: Tensor) -> Tensor:
        return h.clamp(0, 6)

    h = norm(depthwise(x, "dw_in"), "norm_in")
    if v["interact"] == "one":
        return depthwise(norm(pointwise(relu6(pointwise(h, "f1")), "g"), "norm_out"), "dw_out")
    a, b = pointwise(h, "f1"), pointwise(h, "f2")
    a, b = (relu6(a) if v["act_on"] in ("one", "both") else a), (relu6(b) if v["act_on"] == "both" else b)
    joined = a * b if v["interact"] == "mul" else a + b
    joined = relu6(joined) if v["act_on"] == "after" else joined
    return depthwise(norm(pointwise(joined, "g"), "norm_out"), "dw_out")
