"""Multi-head self-attention over the positions of a map, with or without a gate."""

from typing import Any, Literal

from timm.layers import Attention as TokenAttention
from timm.layers import LayerNorm
from torch import Tensor, nn

from hadnas.blocks.layers import activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import divides


@block(
    family="attention",
    rules=(divides("heads"),),
    unused=lambda v: () if v["gated"] else ("interact",),
    twin=("interact", "mul", "sum"),
    idle=lambda v: (
        ("attn.k_norm.bias",) if v["qk_norm"] else ()
    ),  # adds one number to all scores of a query, which the softmax cancels
)
class Attention(nn.Module):
    """Multi-head self-attention; `gated` multiplies its output by a sigmoid gate of the input.

    y = P(a * sigmoid(G x)),  a_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j in each head,  [q; k; v] = W x

    W C -> 3 C, P and G C -> C, pointwise; d = C / heads. Without `gated` the gate is 1; its additive twin (`sum`)
    adds the gate to a. `bias` is that of W and G; `qk_norm` applies a LayerNorm over the d channels of a head to q and
    to k. All positions of the map are tokens, without a position encoding.

    Shapes: (B, C, H, W) -> (B, C, H, W); heads divides C.
    Degree: (4 if gated and interact == "mul" else 3) (nominal)
    Params: (5 if gated else 4)*C**2 + C + ((4 if gated else 3)*C if bias else 0) + (4*(C//heads) if qk_norm else 0)
    MACs: (5 if gated else 4)*C**2*N + 2*C*N**2
    Products: C*N if gated and interact == "mul" else 0
    Source: Vaswani et al., "Attention is all you need", 2017, arXiv 1706.03762, equation 1; the gate after the
        attention: Qiu et al., "Gated attention for large language models", 2025, arXiv 2505.06708.
    timm: timm.layers.Attention
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        gated: bool = False,
        interact: Literal["mul", "sum"] = "mul",
        bias: bool = True,
        qk_norm: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.attn = TokenAttention(dim, heads, qkv_bias=bias, qk_norm=qk_norm, gated=gated, norm_layer=LayerNorm, **dd)
        self.gate, self.proj = self.attn.gate, self.attn.proj
        self.attn.gate, self.attn.proj = None, nn.Identity()  # timm's gate only multiplies, so it is applied in forward
        self.sigmoid = activation("sigmoid", **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed = self.attn(tokens)
        if self.gate is not None:
            gate = self.sigmoid(self.gate(tokens))
            mixed = mixed * gate if self.multiply else mixed + gate
        return self.proj(mixed).transpose(1, 2).reshape(x.shape)
