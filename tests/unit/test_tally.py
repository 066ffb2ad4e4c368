"""What the trials of a study count, stopped ones among them."""

import random
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hadnas.search.tally import RunningTally, tally

STATES = {"stopped": TrialState.PRUNED, "refused": TrialState.PRUNED, "complete": TrialState.COMPLETE}


def counts(*trials: tuple[str, str]) -> tuple[int, int, int, int, float | None]:
    """Of trials given as (architecture, end), in order: done, stopped, refused, refused in a row, best."""
    made = []
    for fingerprint, end in trials:
        known = {"fingerprint": fingerprint, "figures": {"val/accuracy": 0.5}} | (
            {"rung": 2} if end != "refused" else {}
        )
        values = [0.5] if end == "complete" else None
        made.append(create_trial(state=STATES[end], values=values, user_attrs=known))
    found = tally(made, "val/accuracy")
    return found.done, found.stopped, found.refused, found.refusals, found.best


def test_a_stopped_architecture_counts_in_the_budget_and_is_not_refused() -> None:
    assert counts(("a", "stopped")) == (1, 1, 0, 0, None)
    assert counts(("a", "refused"), ("b", "stopped"), ("a", "refused")) == (1, 1, 2, 1, None)
    assert counts(("a", "complete"), ("b", "stopped"), ("c", "refused")) == (2, 1, 1, 1, 0.5)


def test_an_architecture_that_is_stopped_and_trained_later_counts_once() -> None:
    assert counts(("a", "stopped"), ("a", "stopped")) == (1, 1, 0, 0, None)
    assert counts(("a", "stopped"), ("a", "complete")) == (1, 0, 0, 0, 0.5)
    assert counts(("a", "complete"), ("a", "stopped"), ("b", "stopped")) == (2, 1, 0, 0, 0.5)


RUNNING = create_trial(state=TrialState.RUNNING)


def some(chance: random.Random, draw: int) -> FrozenTrial:
    """A trial that ended, of few architectures and assignments."""
    end = chance.choice(["stopped", "refused", "complete"])
    fingerprint = chance.choice(["a", "b", "c", *([None] if end == "refused" else [])])
    known: dict[str, Any] = {"draw": draw, "figures": {"val/accuracy": chance.random()}}
    known |= {"rung": 2} if end == "stopped" else {}
    known |= {"fingerprint": fingerprint} if fingerprint else {}
    known |= {"phases": {"sample": 1.0, "train": chance.random()}} if chance.random() < 0.5 else {}
    values, distribution = [0.5] if end == "complete" else None, CategoricalDistribution([0, 1, 2])
    params, distributions = {"x": chance.randrange(3)}, {"x": distribution}
    state = STATES[end]
    return create_trial(state=state, values=values, params=params, distributions=distributions, user_attrs=known)


@pytest.mark.parametrize("seed", range(20))
def test_a_running_tally_is_that_of_all_trials_in_whatever_order_they_end(seed: int) -> None:
    chance, running = random.Random(seed), RunningTally("val/accuracy")
    ends = [some(chance, draw) for draw in range(12)]
    trials: list[FrozenTrial] = []
    while len(trials) < len(ends) or RUNNING in trials:
        at_work = [place for place, trial in enumerate(trials) if trial is RUNNING]
        if len(trials) < len(ends) and (not at_work or chance.random() < 0.5):
            trials.append(RUNNING)
        else:
            place = chance.choice(at_work)
            trials[place] = ends[place]
        assert running.update(trials) == tally(trials, "val/accuracy")
        assert [running.has_ended(draw) for draw in range(len(trials))] == [t is not RUNNING for t in trials]


def test_a_trial_is_counted_once() -> None:
    chance, running = random.Random(0), RunningTally("val/accuracy")
    trials: list[Any] = [some(chance, draw) for draw in range(9)]
    running.update(trials[:6])
    gone = [object()] * 6  # they are not looked at again
    assert running.update([*gone, *trials[6:]]) == tally(trials, "val/accuracy")
