"""What do the products buy: ten blocks with a product against their additive twins, by seed.

    python tests/bench/products.py images.npz

Machine: 2 CPU cores, no GPU; about 35 minutes of one core. Expected on a Fashion-MNIST subset (8,000 training images,
four epochs, 6 seeds): validation accuracy in %, mean and standard deviation over the seeds; product - sum with its 95 %
interval over seeds and images (n = 2,000), p corrected by Holm for nine comparisons. Product and sum have equal
parameters and MACs. docs/results.md has latencies and int8.

    block                 product       sum           product - sum
    ncp                   81.33 (0.75)  75.94 (0.57)  +5.38 (+4.02 to +6.75), p < 0.001
    gn_conv               79.79 (0.69)  76.88 (0.73)  +2.91 (+1.63 to +4.19), p = 0.0012
    monet_poly            82.74 (0.62)  79.99 (0.77)  +2.75 (+1.87 to +3.63), p < 0.001
    glu                   80.09 (1.28)  78.11 (0.45)  +1.98 (+0.37 to +3.60), p = 0.088
    conv_mod              82.47 (0.46)  80.73 (0.45)  +1.74 (+1.07 to +2.41), p < 0.001
    gated_conv            83.00 (0.61)  81.64 (0.47)  +1.36 (+0.45 to +2.26), p = 0.034
    star                  84.09 (0.42)  83.43 (0.53)  +0.67 (-0.12 to +1.45), p = 0.27
    lka                   82.34 (0.53)  81.89 (0.32)  +0.45 (-0.09 to +0.99), p = 0.27
    efficient_modulation  83.62 (0.48)  83.38 (0.43)  +0.24 (-0.65 to +1.13), p = 0.54

The product of focal_modulation is refused by the screen with every seed: nothing normalises the branch here, and its
activations explode, while its sum trains. The product is ahead in all nine others, by more than the noise in five.
"""

from hadnas.search_spaces.product_or_sum_blocks import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="images.npz",
    recipe=Recipe(epochs=4, batch=128, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="exhaustive",
    trials=20,
    latency=None,
    baselines={},
)
