"""Does RPC attention withstand noise and attacks better than softmax attention, as its paper reports?

    hadnas search rpc_or_softmax
    hadnas finals rpc_or_softmax --top 1 --seeds 6 --candidates 0 --under noise:0.1 --under noise:0.2 --under noise:0.3
        --under fgsm:0.02 --under fgsm:0.05 --under fgsm:0.1 --under pgd:0.02 --under pgd:0.05 --under pgd:0.1

Machine: 2 CPU cores, no GPU; 2 and 4 minutes. Six thresholds of RPC attention compete; the baseline has softmax
attention in the same places, at equal MACs (318k; 17.0k and 19.1k parameters). Expected of the best threshold by
validation accuracy (sparsity 16, product; two others are as good), with six fresh seeds: test accuracy in %, n = 360,
and the lead of RPC attention with its 95 % interval over seeds and images.

    stress       RPC    softmax   lead
    none         96.3   96.0      +0.4 (-1.1 to +1.9)
    noise 0.1    93.3   93.8      -0.5 (-2.5 to +1.5)
    noise 0.2    72.8   76.3      -3.5 (-8.6 to +1.5)
    noise 0.3    46.5   49.5      -3.0 (-10.0 to +3.9)
    fgsm 0.02    88.2   88.6      -0.3 (-2.1 to +1.5)
    fgsm 0.05    66.6   68.1      -1.6 (-7.0 to +3.8)
    fgsm 0.1     30.9   34.2      -3.2 (-9.5 to +3.0)
    pgd 0.02     87.8   88.0      -0.1 (-2.6 to +2.3)
    pgd 0.05     58.4   60.6      -2.2 (-7.6 to +3.3)
    pgd 0.1       7.6    7.1      +0.5 (-2.5 to +3.4)

No difference is more than noise, and under noise and attacks most lean to softmax attention. The paper reports gains of
vision transformers on ImageNet; these networks of two attentions on digits show none.
"""

from hadnas.search_spaces.rpc_attentions import SPACE, network
from hadnas.space import op
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="digits",
    recipe=Recipe(epochs=20, batch=64, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="exhaustive",
    trials=6,
    baselines={"softmax": network(op("attention", heads=4))},
    latency=None,
    seed=0,
)
