"""Attention blocks: loops over heads and positions written from the formulas, or timm's classes with copied weights."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle


@oracle("attention", {}, {"gated": True, "heads": 2}, {"gated": True, "qk_norm": True, "bias": False}, {"heads": 1})
def attention(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    batch, dim, height, width = x.shape
    d = dim // v["heads"]
    tokens = x.reshape(batch, dim, height * width).transpose(1, 2)
    q, k, values = F.linear(tokens, p["attn.qkv.weight"], p.get("attn.qkv.bias")).split(dim, dim=-1)
    heads = []
    for head in range(v["heads"]):
        part = slice(head * d, (head + 1) * d)
        qh, kh = q[..., part], k[..., part]
        if v["qk_norm"]:
            qh = F.layer_norm(qh, (d,), p["attn.q_norm.weight"], p["attn.q_norm.bias"], 1e-6)
            kh = F.layer_norm(kh, (d,), p["attn.k_norm.weight"], p["attn.k_norm.bias"], 1e-6)
        scores = torch.exp(torch.einsum("bid,bjd->bij", qh, kh) / d**0.5)
        scores = scores / scores.sum(-1, keepdim=True)
        heads.append(torch.einsum("bij,bjd->bid", scores, values[..., part]))
    out = torch.cat(heads, dim=-1)
    if v["gated"]:
        out = out * torch.sigmoid(F.linear(tokens, p["attn.gate.weight"], p.get("attn.gate.bias")))
    out = F.linear(out, p["attn.proj.weight"], p["attn.proj.bias"])
    return out.transpose(1, 2).reshape(x.shape)
