"""The draws of a space that give an architecture."""

import random
from itertools import islice

import pytest

import hadnas
from hadnas import int_range, one_of, op, repeat
from hadnas.arch.read import complete
from hadnas.errors import HadnasError
from hadnas.library import shipped
from hadnas.search.proposals.enqueued import draw_of_arch, enqueue
from hadnas.space import draws, replay
from hadnas.space.match import matches
from hadnas.store.study import Study
from tests.networks import TWO_INPUTS

TASK = hadnas.Task.image(3, 32, 32, classes=10)


@pytest.mark.parametrize("name", shipped("search_spaces"))
def test_every_member_is_found_and_no_published_network_is_one(name: str) -> None:
    space, task, found = hadnas.load(name), TWO_INPUTS.get(name, TASK), 0
    for _, draw in islice(draws(space, random.Random(0)), 12):
        try:
            arch = complete(draw, task)
        except HadnasError:  # a rule refuses it
            continue
        params = draw_of_arch(space, arch, task)
        assert params is not None and complete(replay(space, params), task) == arch
        found += 1
    assert found >= 6
    assert all(draw_of_arch(space, hadnas.load(other), task) is None for other in shipped("published"))


def test_repetitions_and_shared_choices_are_told_apart() -> None:
    act = one_of("relu", "gelu", name="act")
    space = {"parts": [repeat(op("a", act=act), int_range(0, 2)), repeat(op("a", act=act), one_of(1, 3))]}
    relu, gelu = ({"op": "a", "act": name} for name in ("relu", "gelu"))
    assert {tuple(sorted(found.items())) for found in matches(space, {"parts": [relu] * 3})} == {
        (("act", "relu"), ("parts.0.times", 0), ("parts.1.times", 3)),
        (("act", "relu"), ("parts.0.times", 2), ("parts.1.times", 1)),
    }
    assert list(matches(space, {"parts": [relu, gelu]})) == []
    assert list(matches(space, {"parts": [relu] * 6})) == []
    assert list(matches({"parts": [1, 2]}, {"parts": [1]})) == []


def test_a_slot_that_has_no_effect_may_have_any_value() -> None:
    space = op("a", kernel=one_of(3, 5), mode=one_of(op("b", size=one_of(1, 2)), "none"))
    assert next(matches(space, {"op": "a", "kernel": 5})) == {"kernel": 5, "mode": "b", "mode.b.size": 1}


def test_a_member_becomes_a_trial_and_another_network_a_baseline() -> None:
    study = Study(name="s", space=hadnas.load("star_or_sum_blocks"), baselines={"plain": "resnet10t"})
    task = hadnas.Task.image(1, 8, 8, classes=10)
    member, other = hadnas.sample(study.space, task, seed=3), hadnas.load("starnet_s050")
    queue = enqueue(study, {"mine": member, "theirs": other}, task)
    assert [complete(replay(study.space, params), task) for params in queue.draws] == [member]
    assert list(queue.study.baselines) == ["plain", "theirs"] and list(study.baselines) == ["plain"]
    with pytest.raises(HadnasError, match="another baseline named 'plain'"):
        enqueue(study, {"plain": other}, task)
