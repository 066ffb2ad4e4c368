"""What grafts into a trained network buy: MobileNetV4, fine-tuned equally long with and without them, and their twins.

    python tests/bench/grafts.py enlarge fashion_mnist_small.npz images.npz  # to 56 x 56 pixels
    hadnas retrain timm:mobilenetv4_conv_small_050 --data images.npz --out parent --epochs 30 --batch 128 \\
        --augment shift_flip --mixup 0
    for seed in 0 1 2; do hadnas search graft --data images.npz --weights parent/model.safetensors --seed $seed \\
        --name graft_$seed; done
    python tests/bench/grafts.py graft_0 graft_1 graft_2

Machine: 2 CPU cores, no GPU; 4 minutes for the parent, 8 to 10 per seed with one thread. The parent has a validation
accuracy of 87.15 % before and 87.42 % after five more epochs, the same network from fresh weights 66.8 % after five.
Without any one of the blocks 0.1, 2.0.dw_start, 2.1 and 3.0.dw_start the parent loses 11 to 80 points, without 2.2
3.7, without any other at most 1.6. Expected on a Fashion-MNIST subset: differences of validation accuracy in %, paired
by seed (3) and by image (n = 2,000), with 95 % intervals over both; latencies as multiples of the parent's.

    graft                  MACs  - parent                - additive twin         eager  compiled
    product around blocks  1.09  -0.45 (-1.11 to +0.21)  -0.43 (-1.40 to +0.53)  1.41  1.14
    sum around blocks      1.09  -0.02 (-1.02 to +0.99)                          1.38  1.17
    second order, product  1.09  -0.10 (-1.09 to +0.89)  +0.18 (-0.08 to +0.45)  1.40  2.43
    second order, sum      1.09  -0.28 (-0.59 to +0.02)                          1.42  2.69
    SE gate behind blocks  1.00  -0.40 (-0.70 to -0.10)                          1.33  1.32
    star for the trunk     1.12  -1.48 (-3.37 to +0.40)  -0.38 (-2.05 to +1.28)  1.13  1.22
    its sum for the trunk  1.12  -1.10 (-1.92 to -0.28)                          1.13  1.32
    without the trunk      0.80  -1.30 (-2.16 to -0.44)                          0.71  0.76
    without idle blocks    0.74  -0.50 (-1.12 to +0.12)                          0.51  0.50

No graft is more accurate than the parent that was fine-tuned as long, no product differs from its additive twin, and
all take longer. What pays here is to leave out the idle blocks: half the latency for half a point, which is within
the error of three seeds.
"""

from hadnas.space import one_of, op
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

MODEL = "mobilenetv4_conv_small_050"

TRUNK = "blocks.2.{1-5}"
"""The blocks of the third stage behind its first, without which the trained network is useless."""

IDLE = ("blocks.2.{4,5}", "blocks.3.{1-5}")
"""Blocks without any one of which the trained network is about as accurate as with it."""


def product(interact: str) -> dict[str, object]:
    """A product of input and output, or its additive twin, around every block."""
    return {"kind:block": op("input_product", interact=interact)}


def second(interact: str) -> dict[str, object]:
    """Every pointwise convolution of the blocks in its second-order form, or with the additive twin of that."""
    return {"blocks.*.*.pw_{exp,proj}.conv": op("second_order", interact=interact)}


def star(interact: str) -> dict[str, object]:
    """A residual star block, or its additive twin, in place of each block of the trunk."""
    block = op("star", expand=2, interact=interact)
    return {TRUNK: op("residual", block=block, merge=op("add"), layer_scale=0.1)}


SPACE = op(
    "timm",
    model=MODEL,
    sites=one_of(
        {},
        product("mul"),
        product("sum"),
        second("mul"),
        second("sum"),
        {"kind:block": op("gate", block=op("se"))},
        star("mul"),
        star("sum"),
        {TRUNK: "drop"},
        dict.fromkeys(IDLE, "drop"),
        name="grafts",
    ),
)

STUDY = Study(
    space=SPACE,
    data="images.npz",
    recipe=Recipe(epochs=5, batch=128, lr=1e-3, augment="shift_flip"),
    objectives=("val/accuracy",),
    sampler="exhaustive",
    trials=10,
    latency=None,
    baselines={"fresh": op("timm", model=MODEL)},
)
