"""Proposals of several workers at one study, without training: each draw once, and no more than the budget."""

from collections.abc import Iterator

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from hadnas.samplers.sampler import Seeded, make_sampler
from hadnas.search.proposals import propose as proposals
from hadnas.search.proposals.propose import Proposal, drop_left
from hadnas.search.tally import RunningTally
from hadnas.store.home import Home, optuna_storage
from hadnas.store.ledger import Ledger
from hadnas.store.study import Study
from hadnas.store.trials import Trials, draw_of
from hadnas.store.worker import Claims
from tests.homes import study

RANDOM = make_sampler("random", 3)


class Workers:
    """Two workers at one database, and one for which every other is dead."""

    def __init__(self, home: Home) -> None:
        self.storage = optuna_storage(home)
        self.ledgers = [Ledger(home.url), Ledger(home.url), Ledger(home.url, stale=-1.0)]
        self.first, self.second, self.late = (ledger.claims for ledger in self.ledgers)

    def study(self, name: str, trials: int = 9) -> tuple[Study, Trials]:
        made = study(name=name, trials=trials)
        directions = ["maximize", "minimize"]
        book = optuna.create_study(storage=self.storage, study_name=name, directions=directions)
        return made, Trials(book, self.storage)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    found = Workers(Home(tmp_path_factory.mktemp("home")))
    yield found
    for ledger in found.ledgers:
        ledger.close()
    found.storage.engine.dispose()


def propose(study: Study, trials: Trials, claims: Claims, sampler: Seeded) -> Proposal | None:
    return proposals.propose(study, trials, claims, sampler, RunningTally(study.metric_figure))


def end(trials: Trials, claims: Claims, done: Proposal) -> None:
    """As if it had been trained."""
    trials.note(done.number, fingerprint=f"f{done.number}", figures={"val/accuracy": 0.5})
    trials.tell(done.number, {}, [0.5, 100.0])
    claims.end(done.held)


def proposed(found: Proposal | None) -> Proposal:
    assert found is not None
    return found


def test_no_draw_is_made_twice_and_draws_follow_the_seed(workers: Workers) -> None:
    small, trials = workers.study("twice")
    one = proposed(propose(small, trials, workers.first, RANDOM))
    two = proposed(propose(small, trials, workers.second, RANDOM))
    three = proposed(propose(small, trials, workers.first, RANDOM))
    end(trials, workers.second, two)
    four = proposed(propose(small, trials, workers.second, RANDOM))
    found = [one, two, three, four]
    assert [(each.held.item, each.number) for each in found] == [(f"draw {n}", n) for n in range(4)]
    again, others = workers.study("again")
    straight = []
    for _ in range(4):
        straight.append(proposed(propose(again, others, workers.first, RANDOM)))
    assert [each.params for each in straight] == [each.params for each in found]
    assert [each.node for each in straight] == [each.node for each in found]
    assert len({str(each.params) for each in found}) > 1


def test_the_trial_of_a_dead_worker_is_gone_on_with(workers: Workers) -> None:
    small, trials = workers.study("dead")
    left = proposed(propose(small, trials, workers.first, RANDOM))
    trials.note(left.number, run_id="its run", rung=2, reason="stopped")  # it died before it told that
    found = proposed(propose(small, trials, workers.late, RANDOM))
    assert (found.number, found.node, found.params) == (left.number, left.node, left.params)
    assert (found.held.attempt, found.left, found.seconds) == (2, "its run", 0.0)
    (trial,) = trials.all()
    assert [trial.user_attrs[name] for name in ("run_id", "rung", "reason")] == [None] * 3


def test_a_draw_whose_worker_died_before_there_was_a_trial_is_the_one_it_would_have_made(workers: Workers) -> None:
    small, trials = workers.study("unborn")
    assert workers.first.take("unborn", ["draw 0"]) is not None
    found = proposed(propose(small, trials, workers.late, RANDOM))
    assert (found.held.item, found.held.attempt, found.left) == ("draw 0", 2, None)
    whole, others = workers.study("whole")
    assert found.params == proposed(propose(whole, others, workers.first, RANDOM)).params


def test_workers_do_not_exceed_the_budget(workers: Workers) -> None:
    small, trials = workers.study("budget", trials=2)
    one = proposed(propose(small, trials, workers.first, RANDOM))
    two = proposed(propose(small, trials, workers.second, RANDOM))
    for _ in range(2):  # and what was not proposed is given back
        assert propose(small, trials, workers.first, RANDOM) is None
        assert workers.first.at_work("budget") == {"draw 0", "draw 1"}
    trials.tell(one.number, {"trains": 1.0}, None)  # refused: another may be tried for it
    workers.first.end(one.held)
    three = proposed(propose(small, trials, workers.first, RANDOM))
    assert (three.held.item, three.held.attempt) == ("draw 2", 1)
    end(trials, workers.second, two)
    assert propose(small, trials, workers.second, RANDOM) is None  # one is done, one at work


def test_a_draw_that_another_worker_told_meanwhile_is_passed_over(workers: Workers) -> None:
    small, trials = workers.study("meanwhile")
    one = proposed(propose(small, trials, workers.first, RANDOM))

    class Slow(Trials):
        """Looks, and the other worker ends its draw before this one asks for a draw."""

        def all(self) -> list[FrozenTrial]:
            seen = super().all()
            if not seen[0].state.is_finished():
                end(trials, workers.first, one)
            return seen

    two = proposed(propose(small, Slow(trials.book, workers.storage), workers.second, RANDOM))
    assert two.held.item == "draw 1" and workers.second.at_work("meanwhile") == {"draw 1"}
    assert [draw_of(trial) for trial in trials.all()] == [0, 1]


def test_what_dead_workers_left_ends_with_the_study_and_counts_as_none(workers: Workers) -> None:
    small, trials = workers.study("left")
    proposed(propose(small, trials, workers.first, RANDOM))
    drop_left("left", trials, workers.second)  # its worker lives
    assert len(trials.all()) == 1 and workers.first.at_work("left") == {"draw 0"}
    drop_left("left", trials, workers.late)
    assert trials.all() == [] and workers.first.activities("left") == []
    assert proposed(propose(small, trials, workers.first, RANDOM)).held.item == "draw 0"


def test_a_draw_that_cannot_be_made_is_given_back(workers: Workers) -> None:
    small, trials = workers.study("fails")

    def fails(draw: int) -> BaseSampler:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        propose(small, trials, workers.first, fails)
    assert workers.first.at_work("fails") == set() and trials.all() == []
    assert proposed(propose(small, trials, workers.second, RANDOM)).held.attempt == 1  # that was no death
