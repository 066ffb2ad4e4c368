"""Which head finds a relation of symbols that were not trained: similarities alone, pairs, or a mean of the cells?

    hadnas search relational_heads
    hadnas finals relational_heads --top 7 --seeds 6 --candidates 0
    hadnas search relational_heads --data relations:identity
    hadnas finals relational_heads-relations_identity --top 7 --seeds 6 --candidates 0

Machine: 2 CPU cores, no GPU; half a minute and 3 minutes of one core for each rule. RESULTS
"""

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
