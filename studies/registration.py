"""Which fusion finds shift and angle between two images?

    hadnas search registration

Machine: 2 CPU cores, no GPU; 5 minutes (294 s of one thread) for the whole space: 23 fusions and twins of 12,000
parameters, each with one encoder for both images or two. Expected of three seeds on one thread after six epochs, with
the encoders of the first draw, by `tests/bench/fusions.py train registration OUT.csv --products`, then `table OUT.csv`:
mean absolute error over the standard deviation of shifts and angle, n = 2,000 validation pairs; 95 % intervals count
seeds and pairs; the difference is from concat_mlp, the better control, and paired by both.

    spatial_conditioning   0.123 (0.116 to 0.131)   -0.029 (-0.037 to -0.021)
    cross_attention        0.148 (0.132 to 0.164)   -0.004 (-0.024 to +0.016)
    gated_fusion           0.151 (0.134 to 0.168)   -0.001 (-0.018 to +0.015)
    concat_mlp             0.152 (0.141 to 0.164)
    poly2 of degree 2      0.162 (0.155 to 0.168)   +0.010 (-0.003 to +0.022)
    film                   0.162 (0.146 to 0.178)   +0.010 (+0.003 to +0.017)
    linear_sum             0.163 (0.160 to 0.166)   +0.011 (-0.004 to +0.025)
    mfb                    0.164 (0.155 to 0.173)   +0.012 (+0.005 to +0.020)
    block_fusion           0.165 (0.161 to 0.168)   +0.013 (-0.001 to +0.026)
    mlb                    0.166 (0.150 to 0.183)   +0.014 (+0.006 to +0.023)
    poly2 of degree 3      0.172 (0.159 to 0.184)   +0.020 (+0.005 to +0.034)
    poly2 of degree 4      0.173 (0.169 to 0.178)   +0.021 (+0.013 to +0.030)
    mutan                  0.183 (0.164 to 0.202)   +0.031 (+0.020 to +0.042)

The motion is a difference of two poses, so a sum is enough; what helps is to keep the positions: spatial conditioning
alone is better than both controls.
"""

from hadnas.search_spaces.image_motion import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="registration",
    recipe=Recipe(epochs=6, batch=128, lr=4e-3),
    objectives=("val/r2",),
    sampler="exhaustive",
    trials=46,
    latency=None,
    seed=0,
)
