"""Product, sum or one branch on the digits: the smallest form of the question.

    hadnas search star_or_sum_digits

Machine: 2 CPU cores, no GPU; 2 to 4 minutes. The space is small, so random search covers a third of it. Expected
with seed 0 and one thread: the best of 18 networks, all of 779k MACs, has a validation accuracy of .9896 (n = 288,
standard error .006), the next four .9792 to .9861: within the error, so the digits do not distinguish product from sum.
The study `star_or_sum` uses harder images.
"""

from hadnas.search_spaces.star_or_sum_blocks import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="digits",
    recipe=Recipe(epochs=6, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="random",
    trials=18,
    seed=0,
)
