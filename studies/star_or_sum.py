"""Does the product beat the sum: the contrast of "Rewrite the stars", every network of a small space, by seed.

    export OMP_NUM_THREADS=1  # for equal digits: the order of sums depends on the number of threads
    for seed in 0 1 2 3 4 5; do hadnas search star_or_sum --data images.npz --seed $seed --name star_or_sum_$seed; done
    python tests/bench/star_or_sum.py star_or_sum_0 star_or_sum_1 ... star_or_sum_5

Machine: 2 CPU cores, no GPU; 5 to 8 minutes per seed on 10,000 images of 28 x 28 with one thread, of which the host
granted a third of the CPU time. Expected on a Fashion-MNIST subset after four epochs: differences of validation
accuracy in %, paired by seed (6) and by image (n = 2,000), with 95 % intervals over both; p corrected by Holm for the
twelve comparisons. At each width all have equal MACs, product and sum equal parameters. On another processor, means
with an activation differed by up to 0.06. docs/results.md has the accuracies.

    width  activation  product - sum                      product - one branch
    4      none        +1.38 (+0.16 to +2.61), p = 0.22   +1.28 (-0.19 to +2.76), p = 0.4
    6      none        +2.12 (+1.29 to +2.94), p < 0.001  +1.95 (+1.03 to +2.87), p = 0.0013
    8      none        +2.38 (+1.50 to +3.27), p < 0.001  +2.43 (+1.59 to +3.27), p < 0.001
    4      one         -0.53 (-1.12 to +0.07), p = 0.4    -1.13 (-2.22 to -0.04), p = 0.26
    6      one         -0.07 (-0.67 to +0.52), p = 0.81   -0.62 (-1.53 to +0.28), p = 0.42
    8      one         +0.39 (-0.22 to +1.00), p = 0.42   -0.61 (-1.13 to -0.09), p = 0.18

Without an activation the product is more accurate at widths 6 and 8; at width 4 the difference is not significant after
the correction. With an activation no difference is: product and sum are about equal, and the one-branch control has the
highest mean at every width. The published advantage of the product there, at widths from 96, is not seen in networks
this small.
"""

from hadnas.search_spaces.star_or_sum_widths import SPACE
from hadnas.store.study import Study
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
