"""Hadaptive-Net's expansion: new channels are the products of each pair of channels that the image selects."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd, require


@block(
    family="hadamard",
    twin=("interact", "mul", "sum"),
    rules=(
        odd("kernel"),
        require(lambda v: 2 <= v["selected"] <= v["dim"], "selected = {selected} must be between 2 and dim = {dim}"),
    ),
)
class CrossHadamard(nn.Module):
    """Adaptive cross-Hadamard expansion, depthwise convolution and projection, an inverted bottleneck.

    u = norm(W x);  s = w conv mean(u);  z = the k channels of u of largest s;  e_ij = softsign(a z_i * z_j) g_ij + b_ij
    y = norm(P act(norm(DW [u; e_ij for i < j])))

    k = `selected`, so DW convolves E = C + k (k - 1) / 2 channels; mean over positions; w one kernel of 5 weights that
    slides along the channels; a learned from 0.5, g and b learned per pair; W, P pointwise C -> C, E -> C, DW
    depthwise, all without bias. A selection has no gradient: that of w is as if z were also multiplied by softmax(s).
    The additive twin (`sum`) has z_i + z_j.

    Shapes: (B, C, H, W) -> (B, C, H, W), selected <= C.
    Degree: 2 if interact == "mul" else 1
    Params: C**2 + 6 + selected*(selected-1) + (kernel**2 + C)*(C + selected*(selected-1)//2) + 2*weights(norm, C)
        + weights(norm, C + selected*(selected-1)//2) + weights(act, C + selected*(selected-1)//2)
    MACs: (C**2 + (kernel**2 + C)*(C + selected*(selected-1)//2))*H*W + 5*C
    Products: (selected*(selected-1)//2*N if interact == "mul" else 0)
        + products(act, (C + selected*(selected-1)//2)*N)
    Source: Zhang et al., "Expressive yet efficient feature expansion with adaptive cross-Hadamard products", 2025,
        arXiv 2505.22226, and the authors' code, whose noise and falling temperature in training are left out.
    """

    def __init__(
        self,
        dim: int,
        *,
        selected: int = 8,
        kernel: int = 3,
        act: Act | None = "hard_swish",
        norm: Norm | None = "batchnorm2d",
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        pairs = selected * (selected - 1) // 2
        hidden = dim + pairs
        self.selected = selected
        self.w = nn.Conv2d(dim, dim, 1, bias=False, **dd)
        self.norm1 = normalisation(norm, dim, **dd)
        self.score = nn.Conv1d(1, 1, 5, padding=2, bias=False, **dd)
        self.a = nn.Parameter(torch.full((1,), 0.5, **dd))
        self.softsign = nn.Softsign()
        self.scale = nn.Parameter(torch.ones(pairs, **dd))
        self.bias = nn.Parameter(torch.zeros(pairs, **dd))
        self.dw = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=False, **dd)
        self.norm2 = normalisation(norm, hidden, **dd)
        self.act = activation(act, **dd)
        self.p = nn.Conv2d(hidden, dim, 1, bias=False, **dd)
        self.norm3 = normalisation(norm, dim, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        u = self.norm1(self.w(x))
        scores = self.score(u.mean((2, 3)).unsqueeze(1)).squeeze(1)
        chosen = scores.topk(self.selected, dim=1).indices
        z = u.gather(1, chosen[:, :, None, None].expand(-1, -1, u.shape[2], u.shape[3]))
        if torch.is_grad_enabled():  # a factor of 1, for the gradient of the scores only
            soft = scores.softmax(1).gather(1, chosen)
            z = z * (1 + (soft - soft.detach()))[:, :, None, None]
        pairs: list[Tensor] = []
        for i in range(self.selected - 1):
            first, others = z[:, i : i + 1], z[:, i + 1 :]
            pairs.append(first * others if self.multiply else first + others)
        e = self.softsign(self.a * torch.cat(pairs, dim=1)) * self.scale[:, None, None] + self.bias[:, None, None]
        h = self.dw(torch.cat((u, e), dim=1))
        return self.norm3(self.p(self.act(self.norm2(h))))
