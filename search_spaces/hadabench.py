"""A small space whose every network was trained: the space of HadaBench.

Two stages at the full and at half the resolution of the image; the second may be empty. Every block is Hadamard
(star, a gated linear unit, convolutional modulation, a recursive gated convolution), additive (star's twin, pooling), a
convolution or attention; all join the skip by one choice: a sum, a learned product or a gate. 648 networks, each a
draw of its own. Meant for images of 8 x 8; `python tests/bench/hadabench.py` trains them all.
"""

from hadnas.space import int_range, one_of, op, repeat

RESIDUAL = op(
    "residual",
    norm="batchnorm2d",
    merge=one_of(op("add"), op("product", project=True), op("gated"), name="merge"),
    block=one_of(
        op("star", expand=2, kernel=3, act="relu6", interact="mul"),
        op("star", expand=2, kernel=3, act="relu6", interact="sum"),
        op("glu", expand=2.0, act="sigmoid"),
        op("conv_mod", kernel=5),
        op("gn_conv", order=2, kernel=3),
        op("conv_next", expand=2, kernel=3),
        op("attention", heads=2),
        op("pooling", kernel=3),
    ),
)

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d")


def stages(width: int) -> list[dict[str, object]]:
    """A stage of `width` channels with one block, and one of twice the width with one block or none."""
    return [
        {"dim": width, "down": op("conv_norm", kernel=1, stride=1), "blocks": [RESIDUAL]},
        {"dim": 2 * width, "down": DOWN, "blocks": repeat(RESIDUAL, int_range(0, 1))},
    ]


SPACE = op(
    "pyramid",
    stem=op("conv_norm", dim=8, kernel=3, stride=1, act="gelu"),
    stages=one_of(stages(4), stages(8), stages(16)),
    norm="batchnorm2d",
    head=op("pooled_linear"),
)
