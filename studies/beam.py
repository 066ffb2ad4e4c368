"""Which fusion of loads and material gives the deflection of a beam: a product, its additive twin, or neither?

    hadnas search beam

Machine: 2 CPU cores, no GPU; 2 minutes (115 s of one thread) for the whole space: 23 fusions and twins of 12,000
parameters, each with two mixers of the material. Expected of three seeds on one thread after six epochs, with the
encoders of the first draw, by `tests/bench/fusions.py train beam OUT.csv`, then `table OUT.csv`: mean absolute error
over the standard deviation of the deflections, on n = 2,000 validation beams; 95 % intervals count seeds and beams; the
difference is from concat_mlp, the better control, and paired by both.

    poly2 of degree 4      0.064 (0.056 to 0.072)   -0.001 (-0.004 to +0.003)
    concat_mlp             0.064 (0.056 to 0.073)
    block_fusion           0.065 (0.057 to 0.074)   +0.001 (-0.011 to +0.013)   twin 0.074 (0.064 to 0.085)
    mlb                    0.068 (0.058 to 0.079)   +0.004 (-0.005 to +0.012)   twin 0.406 (0.377 to 0.436)
    gated_fusion           0.070 (0.058 to 0.081)   +0.005 (+0.002 to +0.008)   twin 0.142 (0.099 to 0.186)
    mfb                    0.076 (0.066 to 0.087)   +0.012 (-0.005 to +0.029)   twin 0.083 (0.072 to 0.093)
    mutan                  0.088 (0.078 to 0.098)   +0.023 (+0.019 to +0.027)   twin 0.403 (0.374 to 0.433)
    spatial_conditioning   0.098 (0.086 to 0.110)   +0.033 (+0.014 to +0.053)
    poly2 of degree 2      0.101 (0.091 to 0.111)   +0.037 (+0.032 to +0.041)   twin 0.405 (0.375 to 0.435)
    film                   0.114 (0.104 to 0.124)   +0.050 (+0.037 to +0.062)   twin 0.411 (0.381 to 0.441)
    linear_sum             0.408 (0.378 to 0.438)   +0.343 (+0.318 to +0.369)
    cross_attention        0.411 (0.381 to 0.441)   +0.347 (+0.321 to +0.373)

The deflection is a product of a form of the loads and a function of the material. So what only adds is four to six
times worse: linear_sum, the twins of pure products, and cross-attention, whose softmax over the one position of the
material is 1. No product is better than the hidden layer of concat_mlp, whose ReLUs join the inputs, too; the twins of
BLOCK and MFB join them in their power norm, that of the gated unit in its sigmoid.
"""

from hadnas.search_spaces.field_and_vector import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="beam",
    recipe=Recipe(epochs=6, batch=128, lr=4e-3),
    objectives=("val/r2",),
    sampler="exhaustive",
    trials=46,
    latency=None,
    seed=0,
)
