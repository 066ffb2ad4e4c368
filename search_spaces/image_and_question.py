"""An image and a question: convolutions, word vectors with a mixer of tokens, and the fusion that answers.

Every fusion has 24,000 parameters within 1 %. The question is a map of height 1, a position for each word, mixed by
attention, by convolutions or by weights over the places.
"""

from hadnas.search_spaces.two_images import fusions
from hadnas.space import one_of, op

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d", act="relu")

IMAGE = op(
    "pyramid",
    stem=op("conv_norm", dim=16, kernel=4, stride=4, norm="batchnorm2d", act="relu"),
    stages=[{"dim": 32, "down": DOWN, "blocks": []}, {"dim": 32, "down": DOWN, "blocks": []}],
)

QUESTION = op(
    "pyramid",
    stem=op("token_embedding", dim=32),
    stages=[
        {
            "dim": 32,
            "down": None,
            "blocks": [
                op(
                    "residual",
                    norm="layernorm2d",
                    merge=op("add"),
                    block=one_of(op("attention", heads=2), op("conv_next", kernel=3), op("token_mlp"), name="words"),
                ),
                op("residual", norm="layernorm2d", merge=op("add"), block=op("mlp", expand=2)),
            ],
        }
    ],
    norm="layernorm2d",
)

SPACE = op("pair", left=IMAGE, right=QUESTION, fusion=fusions(24_000), head=op("pooled_linear"))
