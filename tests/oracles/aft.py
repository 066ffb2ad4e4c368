"""Attention-free attention, full and by a kernel: the weighted mean of each position as a softmax over all others."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import join


def attended(p: dict[str, Tensor], x: Tensor, w: Tensor, interact: str) -> Tensor:
    """The block, with the position weights `w` of every channel and pair: (C or 1, N, N)."""
    q, k, v = (
        torch.einsum("oi,bin->bon", p[f"{name}.weight"].flatten(1), x.flatten(2))
        + (p[f"{name}.bias"][:, None] if f"{name}.bias" in p else 0)
        for name in ("q", "k", "v")
    )
    weights = torch.softmax(k[:, :, None] + w, dim=3)  # (B, C, i, j)
    y = join(interact, 1 / (1 + torch.exp(-q)), torch.einsum("bcij,bcj->bci", weights, v))
    y = torch.einsum("oi,bin->bon", p["project.weight"].flatten(1), y) + p["project.bias"][:, None]
    return y.reshape(x.shape)


@oracle("aft", {}, {"interact": "sum"})
def aft(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    return attended(p, x, p["w"][None], v["interact"])


@oracle("aft_conv", {}, {"kernel": 3}, {"interact": "sum", "kernel": 5})
def aft_conv(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    height, width, reach = *x.shape[2:], v["kernel"] // 2
    rows = []
    for i in range(height * width):
        for j in range(height * width):
            down, right = j // width - i // width, j % width - i % width
            inside = max(abs(down), abs(right)) <= reach
            rows.append(p["w"][:, 0, reach + down, reach + right] if inside else torch.zeros_like(p["w"][:, 0, 0, 0]))
    w = torch.stack(rows, dim=1).reshape(-1, height * width, height * width)
    return attended(p, x, w, v["interact"])
