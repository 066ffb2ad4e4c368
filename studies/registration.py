"""Which fusion finds shift and angle between two images?"""

from hadnas.search_spaces.image_motion import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="registration",
    recipe=Recipe(epochs=6, batch=128, lr=4e-3),
    objectives=("val/r2",),
    sampler="exhaustive",
    trials=23,
    latency=None,
    seed=0,
)
