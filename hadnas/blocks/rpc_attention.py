"""RPC attention: self-attention on keys from which sparse outliers are removed step by step."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, divides, require


@block(
    family="attention",
    rules=(
        divides("heads"),
        at_least("steps", 1),
        require(lambda v: v["sparsity"] > 0, "sparsity = {sparsity} must be greater than 0"),
    ),
)
class RpcAttention(nn.Module):
    """Symmetric attention (keys are queries) as n steps of robust principal components.

    L = U = 0;  n times:  S = soft(k - L + U, t),  K = k - S - U,  L = softmax(K K^T / sqrt(d)) v,  U += k - L - S
    y = W' L,  [k; v] = W x,  mu = N C / (4 |k|_1) in each head

    S the sparse part of the keys, L the low-rank part, U the dual variable over mu; soft(a, t) = a - clamp(a, -t, t), a
    mask and a shift. The threshold t is `sparsity` * mu ("product", the authors' code) or `sparsity` / mu ("quotient",
    as in principal component pursuit). n = `steps`; W pointwise C -> 2 C, W' C -> C; d = C / heads. With n = 1 and
    infinite t it is softmax attention of k to itself.

    Shapes: (B, C, H, W) -> (B, C, H, W); heads divides C.
    Degree: 2**(steps + 1) - 1 (nominal)
    Params: 3*C**2 + 3*C
    MACs: 3*C**2*N + 2*steps*C*N**2
    Products: 0
    Source: Teo and Nguyen, "Unveiling the hidden structure of self-attention via kernel principal component analysis",
        2024, arXiv 2406.13762.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        steps: int = 2,
        sparsity: float = 4.0,
        threshold: Literal["product", "quotient"] = "product",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.heads, self.steps, self.sparsity = heads, steps, sparsity
        self.divide = threshold == "quotient"
        self.kv = nn.Linear(dim, 2 * dim, **dd)
        self.project = nn.Linear(dim, dim, **dd)

    def forward(self, x: Tensor) -> Tensor:
        batch, dim, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        k, v = self.kv(tokens).reshape(batch, -1, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        size = k.abs().sum((2, 3), keepdim=True).clamp(min=1e-6)
        count = height * width * dim / 4  # mu = count / size
        t = self.sparsity / count * size if self.divide else self.sparsity * count / size
        low = dual = torch.zeros_like(k)
        for _ in range(self.steps):
            rest = k - low + dual
            sparse = rest - rest.clamp(-t, t)
            clean = k - sparse - dual
            low = F.scaled_dot_product_attention(clean, clean, v)
            dual = dual + k - low - sparse
        return self.project(low.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)
