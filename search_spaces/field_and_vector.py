"""A field beside a vector: loads along a beam and its material, and the fusion that multiplies or adds them.

The field is a map of height 1, read by convolutions and by a block over its positions; the vector by a linear map and
a feed-forward network. The deflection of a beam is a product of a form of the loads and a function of the material.
"""

from hadnas.search_spaces.two_images import fusions
from hadnas.space import one_of, op

LOADS = op(
    "pyramid",
    stem=op("conv_norm", dim=16, kernel=3, stride=1, norm=None),
    stages=[
        {"dim": 16, "down": None, "blocks": [op("residual", norm=None, merge=op("add"), block=op("token_mlp"))]},
        {"dim": 32, "down": op("conv_norm", kernel=1, stride=1, norm=None), "blocks": []},
    ],
    norm=None,
)

MATERIAL = op(
    "pyramid",
    stem=op("vector_embedding", dim=32),
    stages=[
        {
            "dim": 32,
            "down": None,
            "blocks": [
                op(
                    "residual",
                    norm="layernorm2d",
                    merge=op("add"),
                    block=one_of(op("mlp", expand=2), op("glu", expand=4 / 3), name="mixer"),
                )
            ],
        }
    ],
    norm=None,
)

SPACE = op("pair", left=LOADS, right=MATERIAL, fusion=fusions(12_000), head=op("pooled_linear"))
