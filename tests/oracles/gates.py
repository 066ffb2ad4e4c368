"""Channel and position gates: written from the formulas, image by image and channel by channel."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import batch_norm

Params = dict[str, Tensor]


def dense(p: Params, name: str, vector: Tensor) -> Tensor:
    """A 1 x 1 convolution on a vector of channels."""
    out = p[f"{name}.weight"][:, :, 0, 0] @ vector
    return out + p[f"{name}.bias"] if f"{name}.bias" in p else out


@oracle("se", {}, {"reduction": 1}, dim=32)
def se(p: Params, x: Tensor, **v: Any) -> Tensor:
    images = []
    for image in x:
        pooled = torch.stack([channel.sum() / channel.numel() for channel in image])
        inner = dense(p, "se.fc1", pooled)
        images.append(image * torch.sigmoid(dense(p, "se.fc2", inner * (inner > 0)))[:, None, None])
    return torch.stack(images)


@oracle("eca", {}, {"kernel": 5})
def eca(p: Params, x: Tensor, **v: Any) -> Tensor:
    weight, channels, reach = p["eca.conv.weight"][0, 0], x.shape[1], v["kernel"] // 2
    pooled = x.mean((2, 3))
    gates = []
    for c in range(channels):
        near = [j for j in range(c - reach, c + reach + 1) if 0 <= j < channels]
        gates.append(torch.sigmoid(sum(weight[j - c + reach] * pooled[:, j] for j in near)))
    return torch.stack([x[:, c] * gates[c][:, None, None] for c in range(channels)], dim=1)


@oracle("global_context", {}, {"interact": "sum", "reduction": 2}, dim=32)
def global_context(p: Params, x: Tensor, **v: Any) -> Tensor:
    mlp = "context.mlp_scale" if v["interact"] == "mul" else "context.mlp_add"
    images = []
    for image in x:
        positions = image.flatten(1).T
        scores = torch.exp(torch.stack([dense(p, "context.conv_attn", position)[0] for position in positions]))
        context = sum(score * position for score, position in zip(scores, positions, strict=True)) / scores.sum()
        inner = dense(p, f"{mlp}.fc1", context)
        centred = inner - inner.mean()
        inner = centred / torch.sqrt((centred**2).mean() + 1e-6) * p[f"{mlp}.norm.weight"] + p[f"{mlp}.norm.bias"]
        t = dense(p, f"{mlp}.fc2", inner.clamp(min=0))[:, None, None]
        images.append(image / (1 + torch.exp(-t)) if v["interact"] == "mul" else image + t)
    return torch.stack(images)


@oracle("coord_attention", {}, {"reduction": 2})
def coord_attention(p: Params, x: Tensor, **v: Any) -> Tensor:
    strips = torch.cat((x.mean(3), x.mean(2)), dim=2)  # of a row and of a column alike, under one norm
    h = batch_norm(p, "attn.bn1", p["attn.conv1.weight"][:, :, 0, 0] @ strips, v["training"])
    rows, columns = (h * (h + 3).clamp(0, 6) / 6).split(x.shape[2:], dim=2)
    rows = torch.sigmoid(p["attn.conv_h.weight"][:, :, 0, 0] @ rows)
    columns = torch.sigmoid(p["attn.conv_w.weight"][:, :, 0, 0] @ columns)
    return torch.einsum("bchw,bch,bcw->bchw", x, rows, columns)


@oracle("cbam", {}, {"kernel": 3, "reduction": 1}, dim=32)
def cbam(p: Params, x: Tensor, **v: Any) -> Tensor:
    def mlp(vector: Tensor) -> Tensor:
        return dense(p, "attn.channel.fc2", dense(p, "attn.channel.fc1", vector).clamp(min=0))

    images, scores = [], []
    for image in x:
        flat = image.flatten(1)
        z = image * torch.sigmoid(mlp(flat.mean(1)) + mlp(flat.max(1).values))[:, None, None]
        pooled = torch.stack([z.mean(0), z.max(0).values])
        images.append(z)
        scores.append(F.conv2d(pooled[None], p["attn.spatial.conv.conv.weight"], padding=v["kernel"] // 2)[0])
    gate = batch_norm(p, "attn.spatial.conv.bn", torch.stack(scores), v["training"])
    return torch.stack(images) * torch.sigmoid(gate)


@oracle("grn")
def grn(p: Params, x: Tensor, **v: Any) -> Tensor:
    images = []
    for image in x:
        norms = [torch.sqrt(sum(row @ row for row in channel)) for channel in image]
        mean = sum(norms) / len(norms)
        scaled = [channel * norm / (mean + 1e-6) for channel, norm in zip(image, norms, strict=True)]
        images.append(image + p["grn.weight"][:, None, None] * torch.stack(scaled) + p["grn.bias"][:, None, None])
    return torch.stack(images)
