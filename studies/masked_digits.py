"""Which convolution reads digits with random holes best: partial, plain or gated?

    hadnas search masked_digits                          # half of the pixels are holes, with random values in them
    hadnas search masked_digits --data holes:0.75:digits

Machine: 2 CPU cores, no GPU; 1 minute for the whole space. Expected of three seeds after 15 epochs, 6 minutes of one
thread for all four shares of holes, by `tests/bench/fusions.py train masked_digits OUT.csv` with `--data
holes:SHARE:digits` of each, then `table OUT.csv`: validation accuracy in %, n = 575 digits, trained and judged at one
share of holes. In parentheses are 95 % intervals over seeds and digits; with a sign, of the difference in points from
the plain convolution of kernel 5 and width 26, paired by both.

    share of holes               0                    0.25                 0.5                  0.75
    kernel 5, about 720,000 MACs
    plain, width 26              98.7 (97.6, 99.3)    93.6 (91.7, 95.2)    81.5 (78.2, 84.4)    52.0 (48.8, 55.2)
    partial, width 26            +0.0 (-1.1, +1.1)    +0.0 (-1.0, +1.0)    -2.6 (-4.6, -0.6)    -4.8 (-7.7, -1.8)
    gated, width 17              -0.8 (-2.8, +1.3)    -3.3 (-4.7, -1.8)    -6.8 (-9.0, -4.6)    -7.4 (-10.2, -4.6)
    gated, width 26, twice that  +0.2 (-1.2, +1.5)    -0.9 (-2.2, +0.3)    -1.0 (-5.2, +3.1)    -2.7 (-9.1, +3.7)
    kernel 3, about 260,000 MACs
    plain, width 26              98.1 (96.8, 98.9)    91.5 (88.6, 93.8)    77.9 (75.0, 80.5)    47.8 (43.4, 52.3)
    partial, width 26            98.3 (97.2, 99.0)    90.4 (88.1, 92.2)    72.4 (68.5, 75.9)    38.1 (35.2, 41.0)
    gated, width 17              96.9 (94.7, 98.2)    88.4 (86.1, 90.4)    71.8 (67.9, 75.5)    38.1 (32.4, 44.2)
    gated, width 26, twice that  98.3 (96.7, 99.1)    92.1 (86.7, 95.4)    75.2 (71.1, 78.9)    45.0 (39.0, 51.1)

No product with the mask beats the plain convolution, which reads zeros in the holes and carries the mask to the mean
over valid positions. Without holes all are equal within the noise; with a half or more of the pixels holes the partial
convolution is behind, and at equal MACs the gated one is from a quarter on. This is of single pixels of 8 x 8 images,
at the share that the networks were trained for; large holes, as of inpainting, were not tried. In what the mask is for
all are alike: no network depends on what is in a hole.
"""

from hadnas.search_spaces.image_with_holes import SPACE
from hadnas.store.study import Study
from hadnas.train.data.spec import DataSpec
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data=DataSpec(source="holes:0.5:digits", val_fraction=0.4),
    recipe=Recipe(epochs=15, batch=128, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="exhaustive",
    trials=12,
    latency=None,
    seed=0,
)
