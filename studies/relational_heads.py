"""Which head."""

from hadnas.search_spaces.grid_heads import SPACE, network
from hadnas.space import op
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="relations:same",
    recipe=Recipe(epochs=20, batch=128, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="exhaustive",
    trials=7,
    baselines={"pooled": network(op("pooled_linear"), expand=4.25)},
    latency=None,
    seed=0,
)
