"""MogaNet's gated aggregation, from its formula, share by share and image by image."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import act, depthwise, join, pointwise


@oracle("moga", {}, {"skip": True}, {"interact": "sum"}, {"kernel": 3, "act": "gelu"}, {"act": None}, dim=16)
def moga(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    dim = x.shape[1]
    h = pointwise(p, "proj_in", x)
    means = [[channel.sum() / channel.numel() for channel in image] for image in h]
    offset = h - torch.stack([torch.stack(image) for image in means])[:, :, None, None]
    u = act(v["act"], h + torch.einsum("bchw,c->bchw", offset, p["s"]))
    value = torch.zeros_like(pointwise(p, "v", x))
    weight, around = p["v.weight"][:, :, 0, 0], depthwise(p, "dw", u)
    shares = {"": (0, dim // 8), "dw_middle": (dim // 8, dim // 2), "dw_far": (dim // 2, dim)}
    for (name, (start, end)), dilation in zip(shares.items(), (1, 2, 3), strict=True):
        part = around[:, start:end]
        if name:
            part = depthwise(p, name, part, dilation)
        value = value + torch.einsum("oi,bihw->bohw", weight[:, start:end], part)
    value = value + p["v.bias"][:, None, None]
    y = pointwise(p, "proj_out", join(v["interact"], act(v["act"], pointwise(p, "gate", u)), act(v["act"], value)))
    return x + y if v["skip"] else y
