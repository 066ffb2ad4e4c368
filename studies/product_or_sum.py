"""What do the products buy: ten blocks with a product against their additive twins, by seed.

    python tests/bench/products.py images.npz

TABLE
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
