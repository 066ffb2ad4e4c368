"""Two images of one scene, and what finds the motion between them: encoders, shared or not, and a fusion.

An image and its copy have the same content, so what matters is where it is. Fusions of maps keep the positions (FiLM,
spatial conditioning, cross-attention); those of vectors get the means of both maps, after a block with weights over the
positions. All have 12,000 parameters within 1 %. One encoder reads both images, or each has one of its own.
"""

from hadnas.search_spaces.two_images import fusions
from hadnas.space import one_of, op

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d", act="relu")

ENCODER = op(
    "pyramid",
    stem=op("conv_norm", dim=8, kernel=3, stride=2, norm="batchnorm2d", act="relu"),
    stages=[
        {"dim": 16, "down": DOWN, "blocks": []},
        {
            "dim": 32,
            "down": DOWN,
            "blocks": [op("residual", norm="batchnorm2d", merge=op("add"), block=op("token_mlp"))],
        },
    ],
)

SPACE = op(
    "pair",
    left=ENCODER,
    right=one_of(None, ENCODER, name="weights"),
    fusion=fusions(12_000),
    head=op("pooled_linear"),
)
