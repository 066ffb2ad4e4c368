"""Product, sum or one branch on the digits: the smallest form of the question.

    hadnas search star_or_sum_digits

Machine: 2 CPU cores, no GPU. The space is small, so random search covers most of it.
"""

from hadnas.search.study import Study
from hadnas.search_spaces.star_or_sum import SPACE
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="digits",
    recipe=Recipe(epochs=6, batch=64, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="random",
    trials=18,
    seed=0,
)
