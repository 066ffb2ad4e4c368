"""Which fusion of an image and a question answers it?"""

from hadnas.search_spaces.image_and_question import SPACE
from hadnas.store.study import Study
from hadnas.train.data.spec import DataSpec
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data=DataSpec(source="easyvqa.npz", inputs=("images", "tokens")),
    recipe=Recipe(epochs=2, batch=256, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="random",
    trials=12,
    latency=None,
    seed=0,
)
