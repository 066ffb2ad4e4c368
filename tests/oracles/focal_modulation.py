"""Focal modulation: timm's layer with copied weights; its additive twin and other activations from the formula."""

from typing import Any

import torch
from timm.models.focalnet import FocalModulation
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, join, pointwise


@oracle(
    "focal_modulation", {}, {"levels": 3, "normalise": True}, {"window": 5, "levels": 1, "norm": "layernorm2d"},
    {"interact": "sum", "normalise": True}, {"act": None}, {"act": "silu", "norm": "layernorm2d"},
)  # fmt: skip
def focal_modulation(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    levels, dim = v["levels"], x.shape[1]
    if v["interact"] == "mul" and v["act"] == "gelu":
        layer = FocalModulation(
            dim, v["window"], levels, use_post_norm=bool(v["norm"]), normalize_modulator=v["normalise"]
        )
        weights = {key.replace("levels.", "focal_layers."): value for key, value in p.items()}
        return torch.func.functional_call(layer.to(x.dtype).eval(), weights, x)
    maps = pointwise(p, "f", x)
    q, context, gates = maps[:, :dim], maps[:, dim : 2 * dim], maps[:, 2 * dim :]
    m = torch.zeros_like(x)
    for level in range(levels):
        context = act(v["act"], depthwise(p, f"levels.{level}.0", context))
        m = m + torch.einsum("bchw,bhw->bchw", context, gates[:, level])
    m = m + torch.einsum("bc,bhw->bchw", act(v["act"], context.mean((2, 3))), gates[:, levels])
    y = join(v["interact"], q, pointwise(p, "h", m / (levels + 1) if v["normalise"] else m))
    if v["norm"]:
        y = F.layer_norm(y.movedim(1, -1), (dim,), p["norm.weight"], p["norm.bias"], 1e-6).movedim(-1, 1)
    return pointwise(p, "proj", y)
