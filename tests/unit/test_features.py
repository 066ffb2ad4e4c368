"""Features of architectures against numbers counted by hand, and what a sampler knows of a draw."""

import math
import random
from typing import Any

import pytest

import hadnas
from hadnas.arch.features import features
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.search.proposals.prospects import prospects
from hadnas.space import one_of, op, random_pick, resolve
from tests.networks import pyramid, residual

TASK = Task.image(1, 8, 8, classes=10)


def test_features_are_what_one_counts_by_hand() -> None:
    both = op("sequence", blocks=[op("mlp"), op("eca")])
    product = residual(op("star", interact="sum"), merge=op("product"))
    found = features(
        complete(pyramid((8, [residual(op("star")), product]), (12, [residual(both), op("mlp")])), TASK),
        {"macs": 999, "products": 0},
    )
    assert {name: found[name] for name in ("path.longest", "path.shortest")} == {
        "path.longest": 5,
        "path.shortest": 1,
    }
    assert {name: value for name, value in found.items() if name.startswith("stages.0.")} == {
        "stages.0.width": 8,
        "stages.0.depth": 2,
        "stages.0.families.hadamard": 1,
        "stages.0.families.additive": 1,
        "stages.0.ops.star": 2,
        "stages.0.ops.residual": 2,
        "stages.0.ops.add": 1,
        "stages.0.ops.product": 1,
        "stages.0.ops.conv_norm": 1,
    }
    assert found["stages.1.width"] == 12 and found["stages.1.depth"] == 3 and found["stages.1.ops.mlp"] == 2
    assert (found["ops.star"], found["ops.mlp"], found["ops.add"], found["ops.conv_norm"]) == (2, 2, 2, 3)
    assert found["log10.macs"] == 3 and found["log10.products"] == 0
    assert all(type(value) is float for value in found.values())


def test_a_network_without_stages_has_features() -> None:
    found = features(complete(op("timm", model="resnet10t"), TASK), {"params": 99})
    assert found == {"ops.timm": 1, "path.longest": 0, "path.shortest": 0, "log10.params": 2}


def drawn(space: Any, seed: int) -> tuple[dict[str, Any], Any]:
    answers: dict[str, Any] = {}
    return answers, resolve(space, random_pick(random.Random(seed), answers))


FOUR = hadnas.load("search_spaces/four_families")


@pytest.mark.parametrize("seed", range(3))
def test_a_prospect_has_what_the_network_costs(seed: int) -> None:
    answers, node = drawn(FOUR, seed)
    arch = complete(node, TASK)
    cost = hadnas.cost(hadnas.build(arch, TASK, device="meta"), TASK.shape)
    problem = prospects(FOUR, TASK, ("val/accuracy", "macs", "latency_ratio", "products", "peak_activation_bytes"))
    assert problem.directions == ("maximize", "minimize", "minimize", "minimize", "minimize")
    found = problem.prospect(answers)
    assert found is not None and found == problem.describe(answers, node)
    assert found.key == arch.fingerprint and found.known == {"macs": cost.macs, "products": cost.products}
    assert found.features["log10.params"] == math.log10(1 + cost.params)


def test_equal_networks_are_equal_prospects() -> None:
    """By whichever option a draw writes them: an activation that is the default, a block that does nothing."""
    space = pyramid((8, [residual(op("star", kernel=one_of(7, 3))), op("identity")]))
    problem = prospects(space, TASK, ("macs",))
    written, left = residual(op("star", kernel=7)), residual(op("star"))
    first, second = (problem.describe({}, pyramid((8, [block]))) for block in (written, left))
    assert first == second == problem.describe({}, pyramid((8, [left, op("identity")])))


def test_what_a_limit_or_a_rule_refuses_is_no_prospect() -> None:
    answers, node = drawn(FOUR, 0)
    found = prospects(FOUR, TASK, ("macs",)).describe(answers, node)
    assert found is not None
    macs = found.known["macs"]
    for limits, there in (({"macs": macs}, True), ({"macs": macs - 1}, False), ({"peak_activation_bytes": 1.0}, True)):
        problem = prospects(FOUR, TASK, ("val/accuracy",), limits)
        assert (problem.describe(answers, node) is not None) is there
    space = pyramid((9, [residual(op("attention", heads=one_of(2, 3)))]))
    problem = prospects(space, TASK, ("macs",))
    (name,) = drawn(space, 0)[0]
    assert problem.prospect({name: 2}) is None and problem.prospect({name: 3}) is not None
