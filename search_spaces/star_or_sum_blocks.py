"""Where does the product help: every block is a star, its additive twin or the one-branch control, all else equal.

The three have equal MACs and, except for the biases of the second branch, equal parameters. `activation` is shared by
the whole network: on one branch, or none (then the sum and the control are linear between norms).
"""

from hadnas.space import one_of, op, repeat

BLOCK = op(
    "star",
    expand=4,
    kernel=3,
    act="relu6",
    act_on=one_of("one", "none", name="activation"),
    interact=one_of("mul", "sum", "one"),
)

RESIDUAL = op("residual", block=BLOCK, merge=op("add"))

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d")


def pyramid(width: int) -> dict[str, object]:
    """Three stages of width, 2 width and 4 width channels."""
    return op(
        "pyramid",
        stem=op("conv_norm", dim=width, kernel=3, stride=1, norm="batchnorm2d"),
        stages=[
            {"dim": width, "down": None, "blocks": repeat(RESIDUAL, 1)},
            {"dim": 2 * width, "down": DOWN, "blocks": repeat(RESIDUAL, 1)},
            {"dim": 4 * width, "down": DOWN, "blocks": repeat(RESIDUAL, 1)},
        ],
        norm="batchnorm2d",
        head=op("pooled_linear"),
    )


SPACE = pyramid(16)
