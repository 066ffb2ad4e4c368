"""The tree of a space: every choice with its options, every part once, numbers of assignments."""

import re

import pytest

import hadnas
from hadnas import int_range, one_of, op, repeat
from hadnas.library import shipped
from hadnas.space import size
from hadnas.space.outline import outline

BLOCK = one_of(op("star", expand=one_of(2, 4)), op("star", interact="sum"), op("mlp"))
BODY = op("residual", block=BLOCK, merge=one_of(op("add"), op("gated"), name="merge"))
SPACE = op(
    "pyramid",
    stem=op("conv_norm", dim=one_of(8, 16), stride=int_range(2, 6, 2)),
    stages=[
        {"dim": 8, "blocks": [BODY]},
        {"dim": 16, "blocks": repeat(BODY, int_range(1, 2))},
        {"dim": 32, "blocks": []},
        {"dim": 32, "blocks": []},
    ],
)

TREE = """\
pyramid [960]
  stem: conv_norm dim=8|16 stride=2..6:2 [6]
  stages.0: dim=8 [8]
    blocks.0: residual [8]
      block: one of 3 [4]
        star#0 expand=2|4
        star#1 interact=sum
        mlp
      merge: one of 2, shared as merge [2]
        add
        gated
  stages.1: dim=16 [40]
    blocks: 1..2 x as stages.0.blocks.0
  stages.2-3: dim=32 blocks=[]"""


def test_a_space_as_a_tree() -> None:
    assert outline(SPACE) == TREE.replace("stride=2..6:2 [6]", "stride=2..6:2")
    assert size(SPACE) == 960


def test_every_decision_of_a_shipped_space_is_in_its_tree() -> None:
    for name in shipped("search_spaces"):
        space = hadnas.load(name)
        tree = outline(space)
        assert f"pyramid norm=batchnorm2d [{size(space):,}]" in tree or f"[{size(space):,}]" in tree.splitlines()[0]
        assert len(tree.splitlines()) < 60, name
        for reference in re.findall(r"\bas (\S+)$", tree, re.MULTILINE):
            assert reference.startswith(("stages", "left.stages")), reference


@pytest.mark.parametrize(
    ("space", "tree"),
    [
        (one_of(op("pyramid"), op("timm", model="resnet10t")), "one of 2 [2]\n  pyramid\n  timm model=resnet10t"),
        (op("pyramid", dims=one_of(8, 16, name="width")), "pyramid dims=width(8|16)"),
        (op("pyramid", sizes=[1, 2], down=None), "pyramid sizes=[1, 2] down=None"),
    ],
)
def test_small_spaces(space: object, tree: str) -> None:
    assert outline(space) == tree
