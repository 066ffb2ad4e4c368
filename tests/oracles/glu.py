"""GLU: timm's GluMlp with copied weights, torch's own F.glu for the sigmoid, the formula for the additive twin."""

from typing import Any

import torch
from timm.layers import GluMlp, get_act_layer
from torch import Tensor, nn
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, pointwise


@oracle(
    "glu", {}, {"act": "sigmoid"}, {"act": None, "expand": 2}, {"act": "gelu", "kernel": 7, "expand": 3},
    {"act": "relu"}, {"interact": "sum"}, {"interact": "sum", "kernel": 3, "act": "gelu"}, dim=9,
)  # fmt: skip
def glu(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    if v["kernel"]:
        x = depthwise(p, "dw", x)
    if v["interact"] == "sum":
        a, g = pointwise(p, "f", x).chunk(2, dim=1)
        return pointwise(p, "g", a + act(v["act"], g))
    if v["act"] == "sigmoid":
        return pointwise(p, "g", F.glu(pointwise(p, "f", x), dim=1))
    layer = get_act_layer(v["act"]) if v["act"] else nn.Identity
    mlp = GluMlp(x.shape[1], p["f.weight"].shape[0], act_layer=layer, use_conv=True).to(x.dtype).eval()
    weights = {
        f"{old}.{part}": p[f"{new}.{part}"] for old, new in (("fc1", "f"), ("fc2", "g")) for part in ("weight", "bias")
    }
    return torch.func.functional_call(mlp, weights, x)
