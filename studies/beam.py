"""Which fusion of loads and material gives the deflection of a beam: a product, its additive twin, or neither?

    hadnas search beam

Machine: 2 CPU cores, no GPU; 2 minutes (115 s of one thread) for the whole space: 23 fusions and twins of 12,000
parameters, each with two mixers of the material. Expected of three seeds on one thread after six epochs, with the
encoders of the first draw, by `tests/bench/fusions.py train beam OUT.csv`, then `table OUT.csv`: mean absolute error
over the standard deviation of the deflections, on n = 2,000 validation beams; 95 % intervals count seeds and beams; the
difference is from concat_mlp, the better control, and paired by both.

    concat_mlp             0.069 (0.060 to 0.078)
    mlb                    0.071 (0.058 to 0.085)   +0.002 (-0.019 to +0.023)   twin 0.407 (0.377 to 0.436)
    poly2 of degree 4      0.072 (0.065 to 0.078)   +0.003 (-0.002 to +0.007)   twin 0.406 (0.376 to 0.436)
    block_fusion           0.075 (0.065 to 0.085)   +0.006 (-0.006 to +0.018)   twin 0.075 (0.065 to 0.084)
    gated_fusion           0.075 (0.066 to 0.085)   +0.006 (+0.004 to +0.008)   twin 0.146 (0.120 to 0.172)
    mfb                    0.076 (0.066 to 0.087)   +0.007 (-0.012 to +0.027)   twin 0.083 (0.072 to 0.093)
    poly2 of degree 3      0.080 (0.072 to 0.087)   +0.010 (+0.007 to +0.014)   twin 0.405 (0.376 to 0.435)
    mutan                  0.088 (0.078 to 0.098)   +0.019 (+0.008 to +0.030)   twin 0.404 (0.375 to 0.434)
    poly2 of degree 2      0.092 (0.081 to 0.103)   +0.023 (+0.014 to +0.031)   twin 0.405 (0.375 to 0.435)
    spatial_conditioning   0.099 (0.090 to 0.108)   +0.030 (+0.021 to +0.039)   twin 0.410 (0.381 to 0.440)
    film                   0.114 (0.104 to 0.124)   +0.045 (+0.033 to +0.057)   twin 0.411 (0.381 to 0.441)
    linear_sum             0.408 (0.378 to 0.438)   +0.339 (+0.313 to +0.364)
    cross_attention        0.411 (0.381 to 0.441)   +0.342 (+0.317 to +0.367)

The deflection is a product of a form of the loads and a function of the material. So what only adds is four to six
times worse: linear_sum, the twins of most products, and cross-attention, whose softmax over the one position of the
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
