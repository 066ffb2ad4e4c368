"""DOC"""

from hadnas.search_spaces.in_context_regression import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="in_context:20",
    recipe=Recipe(epochs=8, batch=256, lr=8e-3),
    objectives=("val/rmse",),
    sampler="exhaustive",
    trials=40,
    latency=None,
    seed=0,
)
