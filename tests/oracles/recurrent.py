"""Recurrent mixers: the cell run position by position."""

from typing import Any

import torch
from torch import Tensor

from tests.oracles import oracle
from tests.oracles.written import join


@oracle("row_column_min_gru", {}, {"interact": "sum"}, dim=16)
def row_column_min_gru(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    batch, dim, height, width = x.shape
    maps = torch.einsum("oi,bihw->bohw", p["w.weight"][:, :, 0, 0], x) + p["w.bias"][:, None, None]
    z, a = torch.sigmoid(maps[:, :dim]), maps[:, dim:]
    g = torch.where(a >= 0, a + 0.5, torch.sigmoid(a))
    rows, columns = list(range(height)), list(range(width))
    right = [[(i, j) for j in columns] for i in rows]
    down = [[(i, j) for i in rows] for j in columns]
    paths = [right, [line[::-1] for line in right], down, [line[::-1] for line in down]]
    quarter, hidden = dim // 4, {}
    for direction, lines in enumerate(paths):
        part = slice(direction * quarter, (direction + 1) * quarter)
        for line in lines:
            h = x.new_zeros(batch, quarter)
            for i, j in line:
                h = (1 - z[:, part, i, j]) * h + join(v["interact"], z[:, part, i, j], g[:, part, i, j])
                hidden[direction, i, j] = h
    quarters = [torch.stack([torch.stack([hidden[q, i, j] for j in columns], -1) for i in rows], -2) for q in range(4)]
    out = torch.einsum("oi,bihw->bohw", p["project.weight"][:, :, 0, 0], torch.cat(quarters, dim=1))
    return out + p["project.bias"][:, None, None]
