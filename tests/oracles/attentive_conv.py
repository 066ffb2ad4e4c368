"""Attentive convolution, from its formula: every image and channel is convolved with its own kernel."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import act, pointwise


@oracle("attentive_conv", {}, {"kernel": 7}, {"kernel": 5, "act": None})
def attentive_conv(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    bins, count = v["kernel"] ** 2, x.shape[2] * x.shape[3]
    maps, value = pointwise(p, "a", x), pointwise(p, "v", x)
    images = []
    for image, values in zip(maps, value, strict=True):
        channels = []
        for c, channel in enumerate(image):
            line = channel.reshape(-1)
            edges = [(i * count // bins, math.ceil((i + 1) * count / bins)) for i in range(bins)]
            pooled = act(v["act"], torch.stack([line[start:end].mean() for start, end in edges]))
            weight = p["g.weight"] @ pooled + p["g.bias"]
            weight = weight - weight.sum() / bins / (1 + torch.exp(-p["d"][c]))
            kernel = weight.reshape(1, 1, v["kernel"], v["kernel"])
            channels.append(F.conv2d(values[None, None, c], kernel, padding=v["kernel"] // 2)[0, 0])
        images.append(torch.stack(channels))
    return pointwise(p, "project", torch.stack(images))
