"""Gated convolution: timm's MambaOut block without its norm and residual; the additive twin from the formula."""

from typing import Any

import torch
from timm.models.mambaout import GatedConvBlock
from torch import Tensor, nn

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, pointwise


@oracle(
    "gated_conv", {}, {"conv_ratio": 0.5, "kernel": 3, "expand": 2}, {"expand": 1, "kernel": 5},
    {"interact": "sum"}, {"act": None}, dim=10,
)  # fmt: skip
def gated_conv(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    if v["interact"] == "mul" and v["act"] == "gelu":
        layer = GatedConvBlock(
            x.shape[1], v["expand"], v["kernel"], v["conv_ratio"], norm_layer=lambda dim, **_: nn.Identity()
        )
        names = {"f": "fc1", "dw": "conv", "g": "fc2"}
        weights = {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in p.items()}
        weights |= {key: weights[key][:, :, 0, 0] for key in ("fc1.weight", "fc2.weight")}
        y = torch.func.functional_call(layer.to(x.dtype).eval(), weights, x.movedim(1, -1)).movedim(-1, 1)
        return y - x
    hidden, convolved = p["g.weight"].shape[1], p["dw.weight"].shape[0]
    maps = pointwise(p, "f", x)
    g, value = act(v["act"], maps[:, :hidden]), maps[:, hidden:]
    value = torch.cat((value[:, : hidden - convolved], depthwise(p, "dw", value[:, hidden - convolved :])), dim=1)
    return pointwise(p, "g", g * value if v["interact"] == "mul" else g + value)
