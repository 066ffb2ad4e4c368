"""Families of an architecture: blocks and merges apart, ties, and networks without blocks."""

from typing import Any

import pytest

from hadnas.arch.diagram import COLOURS, diagram
from hadnas.arch.families import families_texts, family_counts, main_family, merge_counts, stage_counts
from hadnas.arch.node import nodes
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.space import op
from hadnas.studies.digits import PLAIN
from tests.networks import pyramid, residual

GRAFT = op("second_order")
TASK = Task.image(1, 8, 8, classes=10)


def test_merges_do_not_outvote_blocks() -> None:
    """Pooling, an MLP and an inverted bottleneck, of which two are joined by a product: an additive network."""
    product = op("product")
    first = [residual(op("pooling"), merge=product), residual(op("mlp"), merge=product)]
    arch = complete(pyramid((8, first), (8, [residual(op("inverted_bottleneck"))])), TASK)
    assert families_texts(arch) == ("H0 A2 C1 T0", "H2 A1 C0 T0")
    assert main_family(family_counts(arch)) == "additive"
    one, two = stage_counts(arch)
    assert (one["additive"], one["hadamard"], one["hadamard merge"], one["additive merge"]) == (2, 0, 2, 0)
    assert (two["convolution"], two["hadamard merge"], two["additive merge"]) == (1, 0, 1)


def test_every_merge_is_counted_and_a_twin_is_additive() -> None:
    merges = [op("add"), op("weighted_sum"), op("product", interact="sum"), op("gated")]
    arch = complete(pyramid((8, [residual(op("star", interact="sum"), merge=merge) for merge in merges])), TASK)
    assert merge_counts(arch) == {"hadamard": 1, "additive": 3, "convolution": 0, "attention": 0}
    assert family_counts(arch) == {"hadamard": 0, "additive": 4, "convolution": 0, "attention": 0}


def test_a_tie_is_mixed_whichever_family_comes_first() -> None:
    blocks = [residual(op(name)) for name in ("star", "conv_next")]
    for order in (blocks, blocks[::-1]):
        assert main_family(family_counts(complete(pyramid((8, order)), TASK))) == "mixed"
    longer = complete(pyramid((8, [*blocks, residual(op("conv_next"))])), TASK)
    assert main_family(family_counts(longer)) == "convolution"


def test_blocks_in_a_row_count_one_by_one() -> None:
    arch = complete(
        pyramid((8, [residual(op("sequence", blocks=[op("conv_next"), op("conv_next"), op("eca")]))])), TASK
    )
    assert families_texts(arch)[0] == "H1 A0 C2 T0"


@pytest.mark.parametrize(
    ("node", "texts", "family"),
    [
        (PLAIN, ("H0 A0 C3 T0", "H0 A0 C0 T0"), "convolution"),  # the stem and two steps between stages
        ({"op": "timm", "model": "resnet18"}, ("C20", "-"), "convolution"),  # its sums of branches are not known
        ({"op": "timm", "model": "test_vit"}, ("-", "-"), None),
        (
            {"op": "timm", "model": "resnet18", "sites": {"fc": {"op": "second_order"}, "layer1.0": {"op": "star"}}},
            ("H2 A0 C0 T0", "-"),  # grafts alone
            "hadamard",
        ),
        (  # a dropped block interacts with nothing
            {"op": "timm", "model": "resnet18", "sites": {"layer1.0": "drop", "layer1.1.act2": "drop"}},
            ("C18", "-"),
            "convolution",
        ),
        (
            {"op": "timm", "model": "resnet18", "sites": {"layer1.0": "drop", "fc": GRAFT}},
            ("H1 A0 C0 T0", "-"),
            "hadamard",
        ),
    ],
)
def test_a_network_without_blocks_counts_its_convolutions(node: Any, texts: tuple[str, str], family: str) -> None:
    arch = complete(node, TASK)
    assert families_texts(arch) == texts
    assert main_family(family_counts(arch)) == family


def test_blocks_of_a_file_that_was_not_read_are_of_no_family() -> None:
    arch = complete(pyramid((8, [residual(op("star")), residual(op("conv_next"))]), (8, [residual(op("eca"))])), TASK)
    for node in nodes(arch.node):
        if node["op"] == "star":
            node["op"] = "block_of_a_file"
    assert families_texts(arch) == ("-", "H0 A3 C0 T0") and main_family(family_counts(arch)) is None
    one, two = stage_counts(arch)
    assert one == {} and two["hadamard"] == 1


def test_the_diagram_has_the_families_that_are_counted() -> None:
    """Attention whose gate is added is attention in both."""
    arch = complete(pyramid((8, [residual(op("hydra", interact="sum"))])), TASK)
    assert families_texts(arch)[0] == "H0 A0 C0 T1"
    drawn = diagram(arch)
    assert drawn.count(COLOURS["attention"]) == 2 and drawn.count(COLOURS["additive"]) == 1  # the legend has each once
