"""CCP as its expanded sum of monomials, NCP and MONet's block from their formulas, shifts by index."""

from itertools import combinations
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import depthwise, join, pointwise


@oracle("ccp", {}, {"degree": 3, "kernel": 3}, {"degree": 4, "expand": 1.5}, {"degree": 3, "interact": "sum"})
def ccp(p: dict[str, Tensor], z: Tensor, **v: Any) -> Tensor:
    k, degree = v["kernel"], v["degree"]
    u = [
        pointwise(p, f"u.{n}.1", depthwise(p, f"u.{n}.0", z)) if k > 1 else pointwise(p, f"u.{n}", z)
        for n in range(degree)
    ]
    if v["interact"] == "sum":
        return pointwise(p, "c", torch.stack(u).sum(0))
    # u_1 (1 + u_2)(1 + u_3) ... = u_1 times every product of a subset of the others
    subsets = [subset for size in range(degree) for subset in combinations(u[1:], size)]
    return pointwise(p, "c", torch.stack([prod(subset, start=u[0]) for subset in subsets]).sum(0))


@oracle("ncp", {}, {"degree": 3, "kernel": 1}, {"degree": 4, "expand": 1.5}, {"degree": 3, "interact": "sum"})
def ncp(p: dict[str, Tensor], z: Tensor, **v: Any) -> Tensor:
    h = depthwise(p, "dw", z) if v["kernel"] > 1 else z

    def x(n: int) -> Tensor:
        a = pointwise(p, f"a.{n - 1}", h)
        return a if n == 1 else join(v["interact"], a, pointwise(p, f"s.{n - 2}", x(n - 1)))

    return pointwise(p, "c", x(v["degree"]))


@oracle(
    "monet_poly",
    {},
    {"reduction": 4, "shift": False},
    {"expand": 2, "interact": "sum"},
    {"norm": None, "kernel": 3},
    dim=16,
)
def monet_poly(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    height, width = x.shape[2:]
    rows, columns = torch.arange(height), torch.arange(width)

    def norm(name: str, h: Tensor) -> Tensor:
        if v["norm"] is None:
            return h
        return F.layer_norm(h.movedim(1, -1), h.shape[1:2], p[f"{name}.weight"], p[f"{name}.bias"], 1e-6).movedim(-1, 1)

    def shift(h: Tensor) -> Tensor:
        moved, dim = [], h.shape[1]
        for c in range(dim):
            quarter = (c >= dim // 4) + (c >= dim // 2) + (c >= dim * 3 // 4)
            down, right = [(-1, 0), (1, 0), (0, -1), (0, 1)][quarter]
            i, j = (rows + down).clamp(0, height - 1), (columns + right).clamp(0, width - 1)
            moved.append(h[:, c, i[:, None], j])
        return torch.stack(moved, dim=1)

    def mu(name: str, h: Tensor, moves: bool) -> Tensor:
        u, w = pointwise(p, f"{name}.u1", h), pointwise(p, f"{name}.u2", h)
        u, w = (shift(u), shift(w)) if moves and v["shift"] else (u, w)
        if moves and v["kernel"] > 1:
            u, w = depthwise(p, f"{name}.dw1", u), depthwise(p, f"{name}.dw2", w)
        u, w = norm(f"{name}.norm1", u), norm(f"{name}.norm3", pointwise(p, f"{name}.u3", w))
        return pointwise(p, f"{name}.o", u + p[f"{name}.alpha"] * (u * w if v["interact"] == "mul" else w))

    z = x + mu("spatial", norm("norm", x), True)
    return z + mu("channel", norm("norm", z), False)
