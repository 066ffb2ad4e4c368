"""Which head finds a relation of symbols that were not trained: similarities alone, pairs, or a mean of the cells?

    hadnas search relational_heads
    hadnas finals relational_heads --top 7 --seeds 6 --candidates 0
    hadnas search relational_heads --data relations:identity
    hadnas finals relational_heads-relations_identity --top 7 --seeds 6 --candidates 0

Machine: 2 CPU cores, no GPU; for each rule half a minute and 2.5 minutes of one core. The networks have 11.2k to 11.9k
parameters. Validation has new images of the 20 symbols of training, the test split 896 other symbols, of other digits.
Expected: validation accuracy in % of the search (one seed, n = 801 and 800), and test accuracy, which is out of
distribution, of six fresh seeds (n = 2,000) with its 95 % interval over seeds and images, for the rules `same` (chance
50) and `identity` (chance 25).

                                      same                              identity
    head                              val     test                      val     test
    corelnet, scaled                  100.0   99.96 (99.78 to 99.99)    100.0   99.99 (99.94 to 100.0)
    corelnet, scaled and mirrored     100.0   99.88 (99.71 to 99.95)    100.0   99.94 (99.88 to 99.97)
    corelnet                          100.0   99.99 (99.94 to 100.0)    100.0   100.0 (99.85 to 100.0)
    corelnet, mirrored                100.0   100.0 (99.85 to 100.0)    100.0   100.0 (99.85 to 100.0)
    pairwise_mlp, context             100.0   94.3 (92.6 to 95.7)        99.9   96.2 (95.1 to 97.1)
    pairwise_mlp                       97.0   64.2 (57.3 to 70.6)        97.4   56.2 (40.8 to 70.6)
    pooled_mlp                         99.5   59.9 (57.4 to 62.3)        36.6   34.5 (32.7 to 36.3)
    pooled_linear (baseline `pooled`)  42.3   54.3 (52.7 to 55.9)        17.6   25.1 (24.1 to 26.1)

Expected with the 100 glyphs of the emergent symbol binding network (ESBN), as `--data relations:RULE:glyphs.npz`, 80
of them in the test split, and `--seeds 3`:

                                      same                              identity
    head                              val     test                      val     test
    corelnet, scaled                  100.0   100.0 (99.85 to 100.0)    100.0   100.0 (99.85 to 100.0)
    corelnet, scaled and mirrored     100.0   99.87 (99.73 to 99.93)    100.0   99.97 (99.87 to 99.99)
    corelnet                          100.0   100.0 (99.85 to 100.0)    100.0   100.0 (99.85 to 100.0)
    corelnet, mirrored                100.0   99.92 (99.70 to 99.98)    100.0   100.0 (99.85 to 100.0)
    pairwise_mlp, context             100.0   95.0 (93.5 to 96.2)        99.5   98.1 (97.2 to 98.6)
    pairwise_mlp                       78.9   84.3 (79.5 to 88.2)        96.9   89.6 (79.0 to 95.1)
    pooled_mlp                        100.0   62.7 (55.0 to 69.8)        37.6   33.3 (31.0 to 35.7)
    pooled_linear (baseline `pooled`)  41.3   48.6 (45.2 to 52.0)        18.1   25.3 (23.9 to 26.9)

On `relations:match` (chance 50, `--seeds 3`) the four forms of CoRelNet have 99.5 to 100.0, pairwise_mlp with context
68.0 (61.9 to 73.6; validation 81.5) and without 52.6 (48.4 to 56.6), pooled_mlp 49.2 (47.8 to 50.5), pooled_linear 48.4
(46.9 to 50.0): in 20 epochs only CoRelNet learns this relation of relations.

Where only similarities pass (CoRelNet), what was learned holds for other symbols. A perceptron on pairs is nearly as
good on the digits of training, but 33 and 41 points worse on others (with glyphs its loss is smaller); the norm over
the cells of an image, which CoRelNet has, too, gives it most of that back. A pooled head cannot pass 50 % on
`identity`, as it does not know which cells are equal. Below chance is what memorises pictures, since validation has
other pictures than training. The intervals do not count the choice of symbols.
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
