"""Softmax or product: which attention reads a linear function from its context, and how near is it to ridge regression?

    hadnas search in_context

Machine: 2 CPU cores, no GPU; 4 minutes for the whole space; CPU time of a candidate: 6 s with
softmax attention of 4 heads, 13 and 7 s with linear attention of 1 and 4, 4 s with the perceptron. Expected of three
seeds by `tests/bench/in_context.py train OUT.csv 5 10 20 40`, then `table OUT.csv`: mean squared error on n = 2,000
validation examples over that of ridge regression on the same ones, the best that there is, by the length of the
context; 95 % intervals count seeds and examples. `one step` is one step of gradient descent by the formula.

    length                                 5                    10                   20                   40
    ridge's own error                      0.768                0.114                0.0342               0.0149
    one step                               3.4 (3.1 to 3.7)     17 (16 to 19)        36 (33 to 39)        40 (37 to 44)
    linear attention, no norm              3.4 (3.1 to 3.7)     17 (16 to 19)        36 (33 to 39)        41 (37 to 45)
    linear attention                       3.1 (2.8 to 3.4)     15 (14 to 16)        31 (28 to 34)        39 (36 to 43)
    softmax attention, 1 head              4.6 (4.2 to 4.9)     23 (21 to 25)        49 (45 to 54)        70 (64 to 77)
    softmax attention, 4 heads             3.4 (3.1 to 3.7)     16 (14 to 17)        34 (30 to 37)        52 (18 to 85)
    concat_mlp after mlp                   3.1 (2.9 to 3.4)     15 (13 to 16)        30 (27 to 33)        39 (35 to 43)
    after softmax self-attention:
    linear attention, no norm              2.4 (2.2 to 2.6)     7.9 (6.9 to 8.8)     11 (9.5 to 12)       10 (7.3 to 14)
    softmax attention, 4 heads             2.9 (2.6 to 3.1)     12 (10 to 13)        20 (17 to 24)        29 (25 to 32)

Of networks trained on contexts of 10: linear attention without norms 3.7, 17, 39 and 63; softmax attention of 4 heads
3.5, 16, 36 and 58.

Linear attention without norms is one step of gradient descent, within 2 % of the formula, as the theory has it. Of
softmax attention one head is worse and four are on a par with the step, as in the paper; at 40 its seeds differ, so no
order is shown. The norms do not destroy the scale (the embedding has a bias): with them linear attention is slightly
better. All of them are far from ridge, as is a perceptron of each column, pooled: one layer does not invert a
covariance. A layer of self-attention before it reduces the error of the linear one three to four times at 20 and 40,
and that of the softmax less. Linear attention saves nothing here: for one query the product of keys and values is
dearer than the similarities.
"""

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
