"""Two images of one kind, and which fusion joins them: eleven fusions of equal parameters, with their additive twins.

One encoder with one set of weights reads both images, stages of 8, 16 and 32 channels; every fusion has 12,000
parameters within 1 %, and gives 32 numbers to one linear head. So the networks differ in the interaction alone:
products of two inputs (MLB, MFB, MUTAN, BLOCK, gates, polynomials of degree 2 to 4, FiLM, spatial conditioning), their
twins with a sum in place of the product, cross-attention, and the controls linear_sum and concat_mlp.
"""

from hadnas.space import one_of, op

PARAMS = 12_000

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d", act="relu")

BLOCK = op("residual", norm="batchnorm2d", merge=op("add"), block=op("mlp", expand=2))

ENCODER = op(
    "pyramid",
    stem=op("conv_norm", dim=8, kernel=3, stride=1, norm="batchnorm2d", act="relu"),
    stages=[{"dim": 16, "down": DOWN, "blocks": []}, {"dim": 32, "down": DOWN, "blocks": [BLOCK]}],
)


def fusions(params: int) -> dict[str, object]:
    """One of the eleven fusions, each of so many parameters."""
    given = {"dim": 32, "params": params}
    joined = {**given, "interact": one_of("mul", "sum")}
    return one_of(
        op("linear_sum", **given),
        op("concat_mlp", **given),
        op("mlb", **joined),
        op("mfb", factors=2, **joined),
        op("mutan", core=16, rank=3, **joined),
        op("block_fusion", core=32, rank=3, chunks=4, **joined),
        op("gated_fusion", **joined),
        op("poly2", degree=one_of(2, 3, 4), **joined),
        op("film", **joined),
        op("spatial_conditioning", **joined),
        op("cross_attention", **given),
        name="fusion",
    )


SPACE = op("pair", left=ENCODER, right=None, fusion=fusions(PARAMS), head=op("pooled_linear"))
