"""Which convolution reads digits with random holes best: partial, plain or gated?

hadnas search masked_digits
hadnas search masked_digits --data holes:0.75:digits
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
