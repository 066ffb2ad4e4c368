"""Does the product beat the sum: the contrast of "Rewrite the stars", every network of a small space, by seed.

for seed in 0 1 2 3 4 5; do hadnas search star_or_sum --data images.npz --seed $seed --name star_or_sum_$seed; done
"""

from hadnas.search.study import Study
from hadnas.search_spaces.contrast import SPACE
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
