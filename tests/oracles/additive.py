"""Blocks without a product: the identity, MLPs over channels and over tokens, pooling."""

from typing import Any

import torch
from timm.layers import create_act_layer
from timm.layers.mlp import Mlp
from timm.models.metaformer import Pooling, StarReLU
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle


@oracle("identity")
def identity(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    return x.clone()


@oracle("mlp", {}, {"act": "star_relu", "bias": False}, {"mix": "before", "expand": 2}, {"mix": "after", "kernel": 5})
def mlp(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    if v["mix"] == "none":
        act = StarReLU if v["act"] == "star_relu" else type(create_act_layer(v["act"]))
        module = Mlp(x.shape[1], v["expand"] * x.shape[1], act_layer=act, bias=v["bias"], use_conv=True)
        names = {"w1": "fc1", "w2": "fc2", "act": "act"}
        weights = {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in p.items()}
        return torch.func.functional_call(module.to(x.dtype), weights, x)

    def depthwise(h: Tensor) -> Tensor:
        return F.conv2d(h, p["dw.weight"], p["dw.bias"], padding=v["kernel"] // 2, groups=h.shape[1])

    def pointwise(h: Tensor, name: str) -> Tensor:
        return torch.einsum("oi,bihw->bohw", p[f"{name}.weight"][:, :, 0, 0], h) + p[f"{name}.bias"][:, None, None]

    def gelu(h: Tensor) -> Tensor:
        return h * 0.5 * (1 + torch.erf(h / 2**0.5))

    h = pointwise(x, "w1")
    h = gelu(depthwise(h)) if v["mix"] == "before" else gelu(h) + gelu(depthwise(gelu(h)))
    return pointwise(h, "w2")


@oracle("pooling", {}, {"kernel": 5})
def pooling(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    if v["kernel"] == 3:
        return Pooling(3)(x)
    height, width, reach = *x.shape[2:], v["kernel"] // 2
    rows = []
    for i in range(height):
        up, down = max(i - reach, 0), min(i + reach + 1, height)  # a window ends where the map does
        for j in range(width):
            window = x[:, :, up:down, max(j - reach, 0) : min(j + reach + 1, width)]
            rows.append(window.sum((2, 3)) / (window.shape[2] * window.shape[3]) - x[:, :, i, j])
    return torch.stack(rows, dim=2).reshape(x.shape)


@oracle("token_mlp", {}, {"hidden": 5, "act": "relu"})
def token_mlp(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    channels = []
    for c in range(x.shape[1]):
        h = torch.einsum("hn,bn->bh", p["w1.weight"], x[:, c].flatten(1)) + p["w1.bias"]
        h = h.clamp(min=0) if v["act"] == "relu" else h * 0.5 * (1 + torch.erf(h / 2**0.5))
        channels.append(torch.einsum("nh,bh->bn", p["w2.weight"], h) + p["w2.bias"])
    return torch.stack(channels, dim=1).reshape(x.shape)


@oracle("sequence")
def sequence(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    return x.clone()  # of no blocks; tests/contracts/test_sequence.py runs some
