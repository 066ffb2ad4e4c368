"""Rank-augmented linear attention, from its formula, with the matrix of similarities that it never makes."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import depthwise, join, pointwise


@oracle("rank_augmented_attention", {}, {"heads": 2, "kernel": 3}, {"heads": 1, "kernel": None}, {"interact": "sum"})
def rank_augmented_attention(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    dim, size = x.shape[1], x.shape[1] // v["heads"]
    maps = pointwise(p, "qk", x).flatten(2)
    q, k = torch.where(maps > 0, maps + 1, torch.exp(maps.clamp(max=0))).split(dim, dim=1)
    value = pointwise(p, "v", x)
    heads = []
    for head in range(v["heads"]):
        part = slice(head * size, (head + 1) * size)
        qh, kh, vh = q[:, part], k[:, part], value.flatten(2)[:, part]
        scores = torch.exp(torch.einsum("bc,bcj->bj", qh.sum(2) / qh.shape[2], kh) / size**0.5)
        similarity = torch.einsum("bci,bcj->bij", qh, kh) * (scores / scores.sum(1, keepdim=True))[:, None]
        heads.append(torch.einsum("bij,bcj->bci", similarity / (similarity.sum(2, keepdim=True) + 1e-6), vh))
    out = torch.cat(heads, dim=1).reshape(x.shape)
    if v["kernel"]:
        out = out + depthwise(p, "dw", value)
    return pointwise(p, "project", join(v["interact"], pointwise(p, "phi", x), out))
