"""How accurate are networks without activations: every member composes linear maps, products and norms.

No activation in stem, blocks, merges and head. Ops that are published with an activation and make sense without it
(conv-mod, LKA, GLU, focal modulation, gated convolution, efficient modulation, the gated merge) are used without it.
Excluded are ops with a sigmoid or a softmax by definition (the highway merge, SE, ECA, attention) and ops that would be
linear (inverted bottlenecks, MLPs). The non-linearity comes from products only; layer norm, which divides by a standard
deviation, is allowed.
"""

from hadnas.space import int_range, one_of, op, repeat

BLOCKS = (
    op("star", expand=one_of(2, 4), kernel=one_of(3, 5), act_on="none", interact="mul", norm="layernorm2d"),
    op("gn_conv", order=one_of(2, 3, 4), kernel=one_of(3, 5, 7)),
    op("conv_mod", kernel=one_of(5, 7), act=None),
    op("lka", kernel=3, dilated_kernel=5, dilation=2, act=None),
    op("glu", expand=one_of(1.0, 2.0), act=None),
    op("focal_modulation", levels=one_of(2, 3), act=None),
    op("gated_conv", expand=one_of(1.0, 2.0), kernel=one_of(5, 7), act=None),
    op("efficient_modulation", expand=one_of(1, 4), act=None),
    op("ccp", degree=one_of(2, 3), kernel=3),
    op("ncp", degree=one_of(2, 3), kernel=3),
    op("poly_nl"),
    op("hydra", normalise=False),
)

MERGE = one_of(op("add"), op("product", project=True), op("gated", act=None))

RESIDUAL = one_of(
    *(op("residual", norm="layernorm2d", block=block, merge=MERGE) for block in BLOCKS),
    op("monet_poly", expand=one_of(2, 3)),  # has its own residuals
)

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
