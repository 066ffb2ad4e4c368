"""LoHa: the dense weight as one explicit einsum over every factor, applied to unfolded patches."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import join


@oracle("lo_ha", {"rank": 3}, {"kernel": 1, "rank": 2}, {"kernel": 5, "rank": 2}, {"interact": "sum", "rank": 2})
def lo_ha(p: dict[str, Tensor], x: Tensor, **v: Any) -> Tensor:
    k, dim, (height, width) = v["kernel"], x.shape[1], x.shape[2:]

    def weight(i: int) -> Tensor:
        if k == 1:
            return torch.einsum("ro,ri->oi", p[f"x{i}"], p[f"y{i}"])
        return torch.einsum("pqkl,po,qi->oikl", p[f"t{i}"], p[f"x{i}"], p[f"y{i}"]).reshape(dim, -1)

    patches = F.unfold(x, k, padding=k // 2)
    y = torch.einsum("op,bpn->bon", join(v["interact"], weight(1), weight(2)), patches)
    return y.reshape(-1, dim, height, width) + p["bias"][:, None, None]
