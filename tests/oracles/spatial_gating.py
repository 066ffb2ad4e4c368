"""Spatial gating: timm's gMLP layers with copied weights; the additive twin from the formula."""

from functools import partial
from typing import Any

import torch
from timm.layers import GatedMlp
from timm.models.mlp_mixer import SpatialGatingUnit
from torch import Tensor, nn
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import act, join, pointwise


@oracle("spatial_gating", {"expand": 2}, {}, {"interact": "sum"}, {"act": None, "norm": None}, dim=6)
def spatial_gating(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    if v["interact"] == "mul" and v["act"] == "gelu":
        norm = partial(nn.LayerNorm, eps=1e-6)
        tokens, hidden = x[0, 0].numel(), p["w1.weight"].shape[0]
        gate = partial(SpatialGatingUnit, seq_len=tokens, norm_layer=norm)
        layer = GatedMlp(x.shape[1], hidden, gate_layer=gate).to(x.dtype)
        names = {"w1": "fc1", "norm": "gate.norm", "m": "gate.proj", "w2": "fc2"}
        weights = {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in p.items()}
        weights |= {key: weights[key][:, :, 0, 0] for key in ("fc1.weight", "fc2.weight")}
        y = torch.func.functional_call(layer.eval(), weights, x.flatten(2).transpose(1, 2))
        return y.transpose(1, 2).reshape(x.shape)
    u, w = act(v["act"], pointwise(p, "w1", x)).chunk(2, dim=1)
    if v["norm"]:
        w = F.layer_norm(w.movedim(1, -1), w.shape[1:2], p["norm.weight"], p["norm.bias"], 1e-6).movedim(-1, 1)
    gate = torch.einsum("mn,bcn->bcm", p["m.weight"], w.reshape(*w.shape[:2], -1)) + p["m.bias"]
    return pointwise(p, "w2", join(v["interact"], u, gate.reshape(u.shape)))
