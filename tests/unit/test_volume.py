"""The hypervolume of a search and the end of one whose hypervolume stands still."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hadnas.samplers.problem import Problem, Prospect
from hadnas.samplers.volume import FIRST, volume
from hadnas.search.tally import standstill
from hadnas.space import one_of

SPACE = {"width": one_of(1, 10, 100, 1000)}


def describe(answers: Any, node: Any) -> Prospect:
    return Prospect(node["width"], {"macs": float(node["width"])})


PROBLEM = Problem(SPACE, ("accuracy", "macs"), ("maximize", "minimize"), describe, ratios=frozenset({"macs"}))


def test_the_reference_is_a_tenth_of_the_range_beyond_the_worst_on_the_scale_of_each_objective() -> None:
    found = volume(PROBLEM, [(0.5, 10.0), (0.9, 100.0)])
    reference = found.figures(found.limit)
    assert reference == pytest.approx([0.5 - 0.04, 10**3.3])  # the draws show MACs from 1 to 1,000
    assert found.of([(0.9, 100.0)]) == pytest.approx((0.9 - 0.46) * 1.3)
    assert found.of([(0.9, 100.0), (0.5, 1e4), (0.4, 1.0)]) == found.of([(0.9, 100.0)])
    assert found.of([]) == 0


def test_only_the_first_that_finished_and_a_named_reference_decide_it() -> None:
    rng = random.Random(0)
    rows = [(rng.random(), 10 ** rng.uniform(0, 3)) for _ in range(30)]
    first, later = volume(PROBLEM, rows[:FIRST]), volume(PROBLEM, [*rows[:FIRST], (-1.0, 1e9)])
    assert first.limit.tolist() == later.limit.tolist() and first.least == later.least
    assert volume(PROBLEM, [*rows[: FIRST - 1], (-1.0, 1e9)]).limit.tolist() != first.limit.tolist()
    named = replace(PROBLEM, reference={"accuracy": 0.1, "macs": 1e4})
    assert volume(named, rows).limit == pytest.approx([-0.1, 4.0])


def test_a_cost_of_0_counts_as_a_thousandth_of_the_smallest_or_makes_the_scale_linear() -> None:
    found = volume(PROBLEM, [(0.5, 10.0)])
    assert found.losses(np.array([0.5, 0.0])).tolist() == [-0.5, -3.0]
    assert found.losses(np.array([0.5, np.nan]))[1] != found.losses(np.array([0.5, np.nan]))[1]
    assert volume(PROBLEM, [(0.5, 0.0)]).losses(np.array([0.5, 70.0])).tolist() == [-0.5, 70.0]


def trials(*accuracies: float | None) -> list[FrozenTrial]:
    """Of one cost; None was stopped at a rung."""
    made = []
    for place, accuracy in enumerate(accuracies):
        state = TrialState.PRUNED if accuracy is None else TrialState.COMPLETE
        attributes = {"fingerprint": str(place)} | ({"rung": 2} if accuracy is None else {})
        made.append(
            create_trial(
                state=state,
                values=None if accuracy is None else [accuracy, 10.0],
                user_attrs=attributes,
                params={"width": 10},
                distributions={"width": CategoricalDistribution((1, 10, 100, 1000))},
            )
        )
    return made


@pytest.mark.parametrize(
    ("last", "ends"),
    [
        ([0.6, 0.7, 0.8], True),
        ([0.91, 0.6, 0.7], False),
        ([0.9001, 0.6, None], True),
        ([None, None, None], True),
        ([0.6, 0.7], False),
    ],
)
def test_a_search_ends_when_the_last_architectures_raise_nothing(last: list[float | None], ends: bool) -> None:
    history = trials(*([0.5] * (FIRST - 1)), 0.9, *last)
    assert bool(standstill(PROBLEM, history, 3)) == ends
    if ends:
        assert "last 3 " in standstill(PROBLEM, history, 3)
        assert not standstill(PROBLEM, history, 4)


def test_repeats_of_an_architecture_do_not_count_and_the_order_is_that_of_finishing() -> None:
    history = trials(*([0.5] * (FIRST - 1)), 0.9, 0.6, 0.7)
    again = create_trial(values=[0.7, 10.0], user_attrs={"fingerprint": "11"})
    assert not standstill(PROBLEM, [*history, again], 3)
    third = trials(0.8)[0]
    third.user_attrs["fingerprint"] = "x"
    assert standstill(PROBLEM, [third, *history], 3)
    history[FIRST - 1].datetime_complete = again.datetime_complete  # the best finished last
    assert not standstill(PROBLEM, [*history, third], 3)
