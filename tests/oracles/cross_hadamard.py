"""Adaptive cross-Hadamard expansion, from its formula: channels are ranked and paired image by image."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, batch_norm, depthwise, join, pointwise


@oracle(
    "cross_hadamard",
    {"act": "relu"},
    {"act": "relu6", "selected": 3, "kernel": 5},
    {"act": None, "selected": 9, "norm": None},
    {"act": "silu", "interact": "sum", "selected": 4},
    dim=9,
)
def cross_hadamard(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    def normed(name: str, h: Tensor) -> Tensor:
        return h if v["norm"] is None else batch_norm(p, name, h, v["training"])

    u, weight, dim, k = normed("norm1", pointwise(p, "w", x)), p["score.weight"][0, 0], x.shape[1], v["selected"]
    images = []
    for image in u:
        means = [channel.sum() / channel.numel() for channel in image]
        scores = [sum(weight[j - c + 2] * means[j] for j in range(max(0, c - 2), min(dim, c + 3))) for c in range(dim)]
        total = sum(torch.exp(score) for score in scores)
        ranked = sorted(range(dim), key=lambda c: -scores[c].item())[:k]
        soft = [torch.exp(scores[c]) / total for c in ranked]
        z = [image[c] * (1 + share - share.detach()) for c, share in zip(ranked, soft, strict=True)]
        pairs = [p["a"] * join(v["interact"], z[i], z[j]) for i in range(k) for j in range(i + 1, k)]
        e = torch.stack([pair / (1 + pair.abs()) for pair in pairs])
        images.append(torch.cat((image, torch.einsum("ehw,e->ehw", e, p["scale"]) + p["bias"][:, None, None])))
    h = normed("norm2", depthwise(p, "dw", torch.stack(images)))
    return normed("norm3", pointwise(p, "p", act(v["act"], h)))
