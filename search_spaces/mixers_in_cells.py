"""What should cells of two inputs mix positions by, and should their inputs be joined by a product or a sum?

Networks of PolyNeXt's form, the host `cell_pyramid`: each cell reads the outputs of the last two. Every mixer is added
to the skip by a learned share, and followed by PolyMLP or its additive twin.
"""

from hadnas.space import int_range, one_of, op, repeat

NORM = "layernorm2d_no_bias_eps1e-5"

INTERACT = one_of("mul", "sum")

MIXER = one_of(
    op("residual", merge=op("sigmoid_scale"), block=op("poly_conv", kernel=one_of(3, 5), interact=INTERACT)),
    op("residual", merge=op("sigmoid_scale"), norm=NORM, block=op("poly_attention", heads=1)),
    op("residual", merge=op("sigmoid_scale"), norm=NORM, block=op("conv_mod", kernel=one_of(5, 7), act=None)),
    op("residual", merge=op("sigmoid_scale"), norm=NORM, block=op("depthwise", kernel=one_of(3, 5))),
    op("residual", merge=op("sigmoid_scale"), norm=NORM, block=op("pooling")),
)

MLP = op("residual", merge=op("sigmoid_scale"), block=op("poly_mlp", expand=one_of(1.0, 2.0), interact=INTERACT))

CELL = op("cell", merge=one_of(op("add"), op("product", project=True)), blocks=[MIXER, MLP])

DOWN = op("separable_conv", norm=None)

SPACE = op(
    "cell_pyramid",
    stem=op("conv_norm", dim=one_of(16, 24), kernel=3, stride=1, bias=False, norm=None),
    stages=[
        {"dim": one_of(32, 48), "down": DOWN, "blocks": repeat(CELL, int_range(1, 2))},
        {"dim": one_of(48, 64), "down": DOWN, "blocks": repeat(CELL, int_range(1, 3))},
    ],
    norm=None,
    head=op("poly_pooled"),
)
