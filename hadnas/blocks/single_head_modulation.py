"""iFormer's single-head modulation attention: attention times a gate."""

from typing import Any, Literal

from timm.layers import ConvNormAct
from torch import Tensor, nn
from torch.nn import functional as F

from hadnas.blocks.layers import activation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import at_least, require


@block(
    family="attention",
    rules=(
        require(lambda v: 1 <= v["reduction"] <= v["dim"], "reduction = {reduction} must be between 1 and {dim}"),
        at_least("expand", 1),
    ),
    twin=("interact", "mul", "sum"),
    idle=lambda v: ("k.bn.bias",),  # adds one number to all scores of a query, which the softmax cancels
)
class SingleHeadModulation(nn.Module):
    """One attention head, multiplied by a gate of the input.

    y = BN(W'(a * g)),  a_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j,  [v; g] = sigmoid(BN(W x))

    q = BN(Wq x), k = BN(Wk x);
    W pointwise C -> 2 e C, Wq and Wk C -> d = C // reduction, W' e C -> C, without biases; e = `expand`. The values
    pass through the sigmoid, too. The additive twin (`sum`) is y = BN(W'(a + g)).

    Shapes: (B, C, H, W) -> (B, C, H, W); reduction <= C.
    Degree: (4 if interact == "mul" else 3) (nominal)
    Params: 3*expand*C**2 + 2*C*(C//reduction) + (4*expand + 2)*C + 4*(C//reduction)
    MACs: (3*expand*C**2 + 2*C*(C//reduction))*N + (expand*C + C//reduction)*N**2
    Products: expand*C*N if interact == "mul" else 0
    Source: Zheng, "iFormer: integrating ConvNet and transformer for mobile application", 2025, arXiv 2501.15369;
        here without windows.
    timm: timm.models.iformer.SHMA
    """

    def __init__(
        self,
        dim: int,
        *,
        reduction: int = 2,
        expand: int = 1,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.q = ConvNormAct(dim, dim // reduction, apply_act=False, **dd)
        self.k = ConvNormAct(dim, dim // reduction, apply_act=False, **dd)
        self.v_gate = ConvNormAct(dim, 2 * expand * dim, apply_act=False, **dd)
        self.sigmoid = activation("sigmoid", **dd)
        self.proj = ConvNormAct(expand * dim, dim, apply_act=False, **dd)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        v, gate = self.sigmoid(self.v_gate(x)).chunk(2, dim=1)
        q, k, v = (part.flatten(2).transpose(1, 2).unsqueeze(1) for part in (self.q(x), self.k(x), v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(gate.shape)
        return self.proj(mixed * gate if self.multiply else mixed + gate)
