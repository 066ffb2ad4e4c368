"""Controls of an architecture cost what it costs, and do not multiply where they say so."""

import pytest

from hadnas.arch.families import family_counts, merge_counts
from hadnas.arch.node import Arch, nodes
from hadnas.arch.random import sample
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.arch.twins import additive_twin, one_branch
from hadnas.blocks.registry import find_op
from hadnas.hosts.build import build
from hadnas.measure.cost import cost
from hadnas.search_spaces.four_families import SPACE
from hadnas.space import op
from tests.networks import pyramid, residual

TASK = Task.image(1, 8, 8, classes=10)


def costs(arch: Arch) -> tuple[int, int, int]:
    found = cost(build(arch, TASK, device="meta"), TASK.shape)
    return found.params, found.macs, found.products


@pytest.mark.parametrize("seed", range(12))
def test_twins_cost_the_same_and_multiply_less(seed: int) -> None:
    arch = sample(SPACE, TASK, seed=seed)
    twin = additive_twin(arch, TASK)
    assert twin is not None and twin.fingerprint != arch.fingerprint
    (params, macs, products), (twin_params, twin_macs, twin_products) = costs(arch), costs(twin)
    assert (params, macs) == (twin_params, twin_macs) and twin_products < products
    assert not any(find_op(node["op"]).multiplies(node) for node in nodes(twin.node))
    assert additive_twin(twin, TASK) is None
    assert family_counts(twin)["hadamard"] == 0


def test_the_control_of_a_star_has_one_branch_and_its_macs() -> None:
    arch = complete(pyramid((8, [residual(op("star"), merge=op("product"))])), TASK)
    control = one_branch(arch, TASK)
    assert control is not None
    assert [node["interact"] for node in nodes(control.node) if "interact" in node] == ["one", "mul"]
    assert costs(control)[1] == costs(arch)[1]


def test_a_network_without_products_has_no_controls() -> None:
    arch = complete(pyramid((8, [residual(op("mlp"))])), TASK)
    assert additive_twin(arch, TASK) is None and one_branch(arch, TASK) is None
    assert additive_twin(complete({"op": "timm", "model": "test_resnet"}, TASK), TASK) is None


def test_a_star_that_sums_has_no_one_branch_control() -> None:
    arch = complete(pyramid((8, [residual(op("star", interact="sum"))])), TASK)
    assert one_branch(arch, TASK) is None


def test_the_twin_of_gated_attention_is_attention() -> None:
    """Its gate is added; attention without a gate has no product of branches, and stays as it is."""
    gated, plain = (complete(pyramid((8, [residual(op("attention", gated=gate))])), TASK) for gate in (True, False))
    twin = additive_twin(gated, TASK)
    assert twin is not None and costs(twin)[:2] == costs(gated)[:2]
    assert costs(gated)[2] - costs(twin)[2] == 8 * 16  # a product per channel and position of a 4 x 4 map
    assert family_counts(twin) == family_counts(gated) == family_counts(plain)
    assert additive_twin(plain, TASK) is None


def test_an_architecture_stored_before_its_op_had_a_twin_still_has_families() -> None:
    arch = complete(pyramid((8, [residual(op("mlp"), merge=op("product"))])), TASK)
    for node in nodes(arch.node):
        node.pop("interact", None)
    assert merge_counts(arch)["hadamard"] == 1
    assert one_branch(arch, TASK) is None
    assert additive_twin(arch, TASK) is not None
