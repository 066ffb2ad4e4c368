"""Which interaction, where: Hadamard, additive, convolution or attention in every block, and its merge.

Three stages at full, half and quarter resolution of the stem's map; every block is chosen separately, with its own
parameters, and joins the skip by a sum, a learned product or a gate. Every block has the same norm before it, so that
families compete on equal terms. Meant for images from 8 x 8 to 64 x 64; a stem of stride 2 halves the resolution.
"""

from hadnas.space import int_range, one_of, op, repeat

BLOCK = one_of(
    # Hadamard: two branches of the input, multiplied
    op("star", expand=one_of(2, 3, 4), kernel=one_of(3, 5), interact="mul"),
    op("gn_conv", order=one_of(2, 3), kernel=one_of(3, 5)),
    op("conv_mod", kernel=one_of(3, 5, 7)),
    op("lka", kernel=3, dilated_kernel=5, dilation=2),
    op("glu", expand=one_of(1.0, 2.0), act=one_of("sigmoid", "silu", "gelu", None)),
    # additive
    op("star", expand=one_of(2, 3, 4), kernel=one_of(3, 5), interact="sum"),
    op("mlp", expand=one_of(2, 4)),
    op("pooling", kernel=3),
    # convolution
    op("conv_next", expand=one_of(2, 4), kernel=one_of(3, 5, 7)),
    op("inverted_bottleneck", expand=one_of(2, 4), kernel=one_of(3, 5)),
    # attention
    op("attention", heads=one_of(2, 4)),
    op("attention", heads=one_of(2, 4), gated=True),
)

RESIDUAL = op(
    "residual", norm="batchnorm2d", block=BLOCK, merge=one_of(op("add"), op("product", project=True), op("gated"))
)

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d")

SPACE = op(
    "pyramid",
    stem=op("conv_norm", dim=one_of(16, 24, 32), kernel=3, stride=one_of(1, 2), act="gelu"),
    stages=[
        {"dim": one_of(16, 24, 32), "down": op("conv_norm", kernel=1, stride=1), "blocks": repeat(RESIDUAL, 1)},
        {"dim": one_of(32, 48, 64), "down": DOWN, "blocks": repeat(RESIDUAL, int_range(1, 2))},
        {"dim": one_of(48, 64, 96), "down": DOWN, "blocks": repeat(RESIDUAL, int_range(1, 2))},
    ],
    norm="batchnorm2d",
    head=op("pooled_linear"),
)
