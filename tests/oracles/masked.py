"""The layers of maps with holes: sums over shifted maps, also of the valid pixels; norms over the valid rows."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import act, join

CASES: tuple[dict[str, Any], ...] = ({}, {"stride": 2}, {"kernel": 5, "norm": None}, {"kernel": 1, "act": "silu"})


def shifted(x: Tensor, v: dict[str, Any]) -> list[tuple[int, int, Tensor]]:
    """What each weight of a kernel sees: its row, its column, and the map at the positions of the output."""
    k, s = v["kernel"], v["stride"]
    padded = F.pad(x, (k // 2,) * 4)
    height, width = x.shape[2:]
    return [(i, j, padded[:, :, i : i + height : s, j : j + width : s]) for i in range(k) for j in range(k)]


def convolved(weight: Tensor, x: Tensor, v: dict[str, Any]) -> Tensor:
    return sum(
        (torch.einsum("oi,bihw->bohw", weight[:, :, i, j], part) for i, j, part in shifted(x, v)), torch.zeros(())
    )


def counted(mask: Tensor, v: dict[str, Any]) -> Tensor:
    return sum((part for _, _, part in shifted(mask, v)), torch.zeros(()))


def normed(p: dict[str, Tensor], y: Tensor, valid: Tensor, v: dict[str, Any]) -> Tensor:
    """The batch norm, by the rows of valid positions in training; None gives the map as it is."""
    if v["norm"] is None:
        return y
    mean, var = p["norm.norm.running_mean"], p["norm.norm.running_var"]
    if v["training"]:
        rows = y.movedim(1, -1)[valid[:, 0]]
        mean, var = rows.mean(0), rows.var(0, correction=0)
    scaled = (y - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
    return scaled * p["norm.norm.weight"][:, None, None] + p["norm.norm.bias"][:, None, None]


@oracle("partial_conv", *CASES)
def partial_conv(p: dict[str, Tensor], x: Tensor, m: Tensor, **v: Any) -> Tensor:
    n, area = counted(m, v), v["kernel"] ** 2
    y = convolved(p["conv.weight"], x * m, v) * (area / n.clamp(min=1)) + p["bias"][:, None, None]
    return act(v["act"], normed(p, y, n > 0, v)) * (n > 0)


@oracle("zero_fill_conv", *CASES)
def zero_fill_conv(p: dict[str, Tensor], x: Tensor, m: Tensor, **v: Any) -> Tensor:
    y = convolved(p["conv.weight"], x * m, v) + p["conv.bias"][:, None, None]
    valid = counted(m, v) > 0
    return act(v["act"], normed(p, y, valid, v)) * valid


@oracle("mask_gated_conv", *CASES, {"interact": "sum"})
def mask_gated_conv(p: dict[str, Tensor], x: Tensor, m: Tensor, **v: Any) -> Tensor:
    both = convolved(p["conv.weight"], torch.cat((x * m, m), dim=1), v) + p["conv.bias"][:, None, None]
    half, valid = both.shape[1] // 2, counted(m, v) > 0
    features = act(v["act"], normed(p, both[:, :half], valid, v))
    return join(v["interact"], features, act("sigmoid", both[:, half:])) * valid
