"""How far without activations: every member is a composition of linear maps, products and norms.

No activation anywhere: not in the stem, the blocks, the merges or the head. That excludes whatever is activated by
definition: gates through a sigmoid (the gated and highway merges, SE, ECA), softmax attention, ReLU features, GELU
contexts (focal modulation, gated convolution), inverted bottlenecks and MLPs. What is left takes its non-linearity
from products alone; layer norm, which divides by a standard deviation, stays allowed.
"""

from hadnas.space import int_range, one_of, op, repeat

BLOCK = one_of(
    op("star", expand=one_of(2, 4), kernel=one_of(3, 5), act_on="none", interact="mul", norm="layernorm2d"),
    op("gn_conv", order=one_of(2, 3, 4), kernel=one_of(3, 5, 7)),
    op("conv_mod", kernel=one_of(5, 7), act=None),
    op("lka", kernel=3, dilated_kernel=5, dilation=2, act=None),
    op("glu", expand=one_of(1.0, 2.0), act=None),
    op("ccp", degree=one_of(2, 3), kernel=3),
    op("poly_nl"),
)

RESIDUAL = op("residual", norm="layernorm2d", block=BLOCK, merge=one_of(op("add"), op("product", project=True)))

DOWN = op("conv_norm", kernel=3, stride=2, norm="layernorm2d", act=None)

SPACE = op(
    "pyramid",
    stem=op("conv_norm", dim=one_of(16, 32), kernel=3, stride=1, norm="layernorm2d", act=None),
    stages=[
        {"dim": one_of(32, 48), "down": DOWN, "blocks": repeat(RESIDUAL, int_range(1, 2))},
        {"dim": one_of(48, 64), "down": DOWN, "blocks": repeat(RESIDUAL, int_range(1, 3))},
    ],
    norm="layernorm2d",
    head=op("pooled_linear"),
)
