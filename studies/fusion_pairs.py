"""Which fusion of two digits finds the label of both?"""

from hadnas.search_spaces.two_images import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="digit_pairs:product",
    recipe=Recipe(epochs=6, batch=128, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="exhaustive",
    trials=23,
    latency=None,
    seed=0,
)
