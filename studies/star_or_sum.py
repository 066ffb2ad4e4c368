"""Does the product beat the sum: the contrast of "Rewrite the stars", every network of a small space, by seed.

    export OMP_NUM_THREADS=1  # to the digit: sums in another order of threads are others
    for seed in 0 1 2 3 4 5; do hadnas search star_or_sum --data images.npz --seed $seed --name star_or_sum_$seed; done
    python tests/benchmarks/star_or_sum.py star_or_sum_0 star_or_sum_1 ... star_or_sum_5

Machine: 2 CPU cores, no GPU; 5 to 8 minutes a seed on 10,000 images of 28 x 28, one thread, where the host halts it
for two thirds of the time. Expected on a Fashion-MNIST subset: validation accuracy in % on n = 2,000 images (four
epochs), mean ± standard deviation over 6 seeds; differences paired by seed with their 95 % t-interval. At each width
all have equal MACs, product and sum equal parameters.

    width  activation  product       sum           one branch    product - sum             product - one branch
    4      none        79.32 ± 0.94  77.93 ± 0.42  78.03 ± 0.75  +1.38 ± 1.20, p = 0.031   +1.28 ± 1.47, p = 0.075
    6      none        81.48 ± 0.48  79.37 ± 0.30  79.53 ± 0.68  +2.12 ± 0.60, p = 0.0003  +1.95 ± 0.74, p = 0.001
    8      none        82.52 ± 0.60  80.13 ± 0.41  80.08 ± 0.22  +2.38 ± 0.67, p = 0.0003  +2.43 ± 0.43, p = 0.00003
    4      one         79.61 ± 0.65  80.15 ± 0.56  80.72 ± 1.01  -0.54 ± 0.60, p = 0.067   -1.12 ± 1.12, p = 0.05
    6      one         81.61 ± 0.68  81.59 ± 0.40  82.17 ± 0.52  +0.02 ± 0.50, p = 0.94    -0.57 ± 0.96, p = 0.19
    8      one         82.79 ± 0.44  82.43 ± 0.46  83.42 ± 0.38  +0.36 ± 0.62, p = 0.20    -0.63 ± 0.56, p = 0.033

Without an activation the product wins at every width. With one the sum is level with it: the published lead of the
product there, at widths from 96, does not show in networks this small; the control even leads. p-values are two-sided
and not corrected for the twelve comparisons.
"""

from hadnas.search.study import Study
from hadnas.search_spaces.star_or_sum_widths import SPACE
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="images.npz",
    recipe=Recipe(epochs=4, batch=128, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="exhaustive",
    trials=18,
    latency=None,
)
