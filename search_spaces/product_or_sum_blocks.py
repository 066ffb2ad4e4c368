"""Ten blocks with a product, each against its additive twin of equal parameters and MACs; one block per network."""

from hadnas.space import one_of, op

BLOCKS = {
    "star": {"expand": 3},
    "glu": {"expand": 2},
    "gated_conv": {},
    "conv_mod": {"kernel": 7},
    "lka": {},
    "focal_modulation": {},
    "gn_conv": {"order": 3},
    "efficient_modulation": {"expand": 4},
    "ncp": {"degree": 2},
    "monet_poly": {},
}

CHOICES = [op(name, interact=way, **values) for name, values in BLOCKS.items() for way in ("mul", "sum")]

BLOCK = op("residual", block=one_of(*CHOICES, name="block"), merge=op("add"))

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d")

SPACE = op(
    "pyramid",
    stem=op("conv_norm", dim=16, kernel=3, stride=2, norm="batchnorm2d"),
    stages=[
        {"dim": 16, "down": DOWN, "blocks": [BLOCK, BLOCK]},
        {"dim": 32, "down": DOWN, "blocks": [BLOCK, BLOCK]},
    ],
    norm="batchnorm2d",
    head=op("pooled_linear"),
)
