"""The default study: small backbones for scikit-learn's handwritten digits, accuracy against MACs.

    hadnas search digits

Machine: 2 CPU cores, no GPU: one minute, and another minute for the first installation.
Expected with seed 0 and two threads: the best candidate has validation accuracy .9861 (n = 288 images, standard error
.007) at 209k MACs, others .9826 at 121k and .9688 at 68k; the baselines plain_conv, starnet_small and timm_resnet have
.9722, .9792 and .9722 at 157k, 384k and 532k. Of 16 candidates 14 have a Hadamard block, 13 an additive one, 9 a
convolution and 6 attention; all have a merge that multiplies. Differences among the best are within the error of 288
images: `hadnas finals digits` repeats the comparison. With `--sampler tpe`: .9861 at 418k MACs, .9826 at 302k.
"""

from hadnas.search_spaces.four_families import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

PLAIN = {
    "op": "pyramid",
    "stem": {"op": "conv_norm", "dim": 16, "stride": 1, "act": "relu"},
    "stages": [
        {"dim": 32, "down": {"op": "conv_norm", "act": "relu"}, "blocks": []},
        {"dim": 64, "down": {"op": "conv_norm", "act": "relu"}, "blocks": []},
    ],
    "norm": None,
    "head": {"op": "pooled_linear"},
}


def star(depth: int) -> dict[str, object]:
    """The blocks and the downsampling of a stage, as in StarNet."""
    block = {"op": "star", "expand": 4, "kernel": 7, "act": "relu6"}
    return {
        "down": {"op": "conv_norm", "kernel": 3, "stride": 2},
        "blocks": [{"op": "residual", "merge": {"op": "add"}, "block": block}] * depth,
    }


STARNET = {
    "op": "pyramid",
    "stem": {"op": "conv_norm", "dim": 16, "stride": 1, "act": "relu6"},
    "stages": [{"dim": 24, **star(1)}, {"dim": 48, **star(1)}],
    "norm": "batchnorm2d",
    "head": {"op": "pooled_linear"},
}

STUDY = Study(
    space=SPACE,
    data="digits",
    recipe=Recipe(epochs=6, lr=8e-3),
    objectives=("val/accuracy", "macs"),
    trials=16,
    seed=0,
    baselines={"plain_conv": PLAIN, "starnet_small": STARNET, "timm_resnet": "test_resnet"},
)
