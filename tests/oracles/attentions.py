"""Attention blocks: loops over heads and positions written from the formulas, or timm's classes with copied weights."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import batch_norm, join


@oracle(
    "attention",
    {},
    {"gated": True, "heads": 2},
    {"gated": True, "qk_norm": True, "bias": False},
    {"gated": True, "interact": "sum"},
    {"heads": 1},
)
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
        gate = torch.sigmoid(F.linear(tokens, p["gate.weight"], p.get("gate.bias")))
        out = out * gate if v["interact"] == "mul" else out + gate
    out = F.linear(out, p["proj.weight"], p["proj.bias"])
    return out.transpose(1, 2).reshape(x.shape)


def pointwise(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """A 1 x 1 convolution of (B, C, ...) maps."""
    out = torch.einsum("oi,bi...->bo...", p[f"{name}.weight"].flatten(1), x)
    return out + p[f"{name}.bias"].view(-1, *[1] * (x.dim() - 2)) if f"{name}.bias" in p else out


@oracle("poly_nl", {}, {"interact": "sum"}, {"norm": "batchnorm2d"})
def poly_nl(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    tokens = x.flatten(2)
    a, b = pointwise(p, "w1", tokens), pointwise(p, "w2", tokens)
    count = tokens.shape[2]
    places = []
    for i in range(count):
        if v["interact"] == "mul":
            places.append(sum(a[:, :, j] * b[:, :, j] * tokens[:, :, i] for j in range(count)) / count)
        else:
            places.append(sum(a[:, :, j] + b[:, :, j] + tokens[:, :, i] for j in range(count)) / count)
    y = pointwise(p, "w3", torch.stack(places, dim=2))
    if v["norm"] == "batchnorm2d":
        y = batch_norm(p, "norm", y, v["training"])
    return y.reshape(x.shape)


@oracle("hydra", {}, {"interact": "sum"}, {"normalise": False})
def hydra(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    dim = x.shape[1]
    q, k, values = pointwise(p, "qkv", x.flatten(2)).split(dim, dim=1)
    if v["normalise"]:
        q = q * (dim / (q**2).sum(1, keepdim=True)) ** 0.5
        k = k * (dim / (k**2).sum(1, keepdim=True)) ** 0.5
    channels = []
    for c in range(dim):  # each channel is a head: attention weights q_i k_j / N
        if v["interact"] == "mul":
            weights = torch.einsum("bi,bj->bij", q[:, c], k[:, c]) / q.shape[2]
            channels.append(torch.einsum("bij,bj->bi", weights, values[:, c]))
        else:
            channels.append(q[:, c] + (k[:, c] + values[:, c]).sum(1, keepdim=True) / q.shape[2])
    return pointwise(p, "project", torch.stack(channels, dim=1)).reshape(x.shape)


@oracle(
    "hadamard_linear_attention", {}, {"factors": 1, "heads": 1, "phi": "relu"}, {"factors": 3, "rank": 2, "heads": 2}
)
def hadamard_linear_attention(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    heads, factors, rank = v["heads"], v["factors"], v["rank"]
    maps = pointwise(p, "qk", x.flatten(2))
    positive = torch.where(maps > 0, maps + 1, torch.exp(maps.clamp(max=0)))
    if v["phi"] == "relu":
        positive = torch.where(maps > 0, maps, 0) + 0.001
    q, k = positive.split(heads * factors * rank, dim=1)
    values = pointwise(p, "v", x.flatten(2)).chunk(heads, dim=1)
    outs = []
    for head in range(heads):
        similarity = torch.ones(())
        for m in range(factors):
            start = (head * factors + m) * rank
            part = slice(start, start + rank)
            similarity = similarity * torch.einsum("bri,brj->bij", q[:, part], k[:, part])
        weights = similarity / similarity.sum(2, keepdim=True)
        outs.append(torch.einsum("bij,bcj->bci", weights, values[head]))
    return pointwise(p, "project", torch.cat(outs, dim=1)).reshape(x.shape)


@oracle("additive_attention", {}, {"interact": "sum"}, {"heads": 2})
def additive_attention(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    tokens = x.flatten(2)
    q, k = pointwise(p, "q", tokens), pointwise(p, "k", tokens)
    q, k = q / (q**2).sum(1, keepdim=True).sqrt(), k / (k**2).sum(1, keepdim=True).sqrt()
    scores = [p["w"][:, 0] @ q[:, :, i].T / x.shape[1] ** 0.5 for i in range(q.shape[2])]
    length = sum(score**2 for score in scores).sqrt()
    context = sum((score / length)[:, None] * q[:, :, i] for i, score in enumerate(scores))
    places = [join(v["interact"], context, k[:, :, i]) for i in range(k.shape[2])]
    return pointwise(p, "w2", pointwise(p, "w1", torch.stack(places, dim=2)) + q).reshape(x.shape)


@oracle("linear_self_attention", {}, {"interact": "sum"})
def linear_self_attention(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    dim = x.shape[1]
    maps = pointwise(p, "qkv", x.flatten(2))
    q, k, values = maps[:, 0], maps[:, 1 : dim + 1], maps[:, dim + 1 :]
    weights = torch.exp(q) / torch.exp(q).sum(1, keepdim=True)
    context = sum(weights[:, i, None] * k[:, :, i] for i in range(q.shape[1]))
    out = [join(v["interact"], values[:, :, i] * (values[:, :, i] > 0), context) for i in range(q.shape[1])]
    return pointwise(p, "project", torch.stack(out, dim=2)).reshape(x.shape)


@oracle("single_head_modulation", {}, {"reduction": 4}, {"interact": "sum"}, {"expand": 2})
def single_head_modulation(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    def normed(name: str, h: Tensor) -> Tensor:
        return batch_norm(p, f"{name}.bn", pointwise(p, f"{name}.conv", h), v["training"])

    tokens = x.flatten(2)
    q, k, both = normed("q", tokens), normed("k", tokens), torch.sigmoid(normed("v_gate", tokens))
    values, gate = both.split(v["expand"] * x.shape[1], dim=1)
    scores = torch.exp(torch.einsum("bdi,bdj->bij", q, k) / q.shape[1] ** 0.5)
    mixed = torch.einsum("bij,bcj->bci", scores / scores.sum(2, keepdim=True), values)
    return normed("proj", mixed * gate if v["interact"] == "mul" else mixed + gate).reshape(x.shape)


@oracle(
    "rpc_attention", {"sparsity": 0.1}, {"threshold": "quotient", "steps": 3, "sparsity": 0.5, "heads": 2}, {"steps": 1}
)
def rpc_attention(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    dim, d = x.shape[1], x.shape[1] // v["heads"]
    maps = pointwise(p, "kv", x.flatten(2))
    images = []
    for image in maps:
        heads = []
        for head in range(v["heads"]):
            k = image[head * d : (head + 1) * d].T
            values = image[dim + head * d : dim + (head + 1) * d].T
            mu = k.shape[0] * dim / (4 * k.abs().sum())
            t = v["sparsity"] * mu if v["threshold"] == "product" else v["sparsity"] / mu
            low, dual = torch.zeros_like(k), torch.zeros_like(k)  # the dual variable Y itself, not over mu
            for _ in range(v["steps"]):
                rest = k - low + dual / mu
                sparse = torch.sign(rest) * (rest.abs() - t).clamp(min=0)
                clean = k - sparse - dual / mu
                scores = torch.exp(clean @ clean.T / d**0.5)
                low = (scores / scores.sum(1, keepdim=True)) @ values
                dual = dual + mu * (k - low - sparse)
            heads.append(low.T)
        images.append(torch.cat(heads))
    return pointwise(p, "project", torch.stack(images)).reshape(x.shape)
