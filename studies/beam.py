"""Which fusion of loads and material gives the deflection of a beam?"""

from hadnas.search_spaces.field_and_vector import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="beam",
    recipe=Recipe(epochs=6, batch=128, lr=4e-3),
    objectives=("val/r2",),
    sampler="exhaustive",
    trials=23,
    latency=None,
    seed=0,
)
