"""What grafts into a trained network buy: MobileNetV4, fine-tuned equally long with and without them, and their twins.

hadnas search graft
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
