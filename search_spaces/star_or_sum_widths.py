"""Product against sum: one interaction for the whole network, with or without an activation, over width.

18 networks: star, its additive twin and the one-branch control; the activation on one branch or none; 4, 6 or 8
channels in the first of three stages. At each width the three interactions have equal MACs, and star and twin equal
parameters (the control lacks the biases of the second branch). This is the contrast of Ma et al., "Rewrite the stars",
2024, arXiv 2403.19967, tables 2 and 4, on a small scale.
"""

from hadnas.space import one_of, op

BLOCK = op(
    "residual",
    block=op(
        "star",
        expand=4,
        kernel=3,
        act="relu6",
        act_on=one_of("one", "none", name="activation"),
        interact=one_of("mul", "sum", "one", name="interaction"),
    ),
    merge=op("add"),
)

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d")


def stages(width: int) -> list[dict[str, object]]:
    """Three stages of width, 2 width and 4 width channels, at 1/4, 1/8 and 1/16 of the image's resolution."""
    return [
        {"dim": width, "down": DOWN, "blocks": [BLOCK]},
        {"dim": 2 * width, "down": DOWN, "blocks": [BLOCK, BLOCK]},
        {"dim": 4 * width, "down": DOWN, "blocks": [BLOCK]},
    ]


SPACE = op(
    "pyramid",
    stem=op("conv_norm", dim=8, kernel=3, stride=2, norm="batchnorm2d"),
    stages=one_of(stages(4), stages(6), stages(8)),
    norm="batchnorm2d",
    head=op("pooled_linear"),
)
