"""The next draw to evaluate, one that no other worker has, with its candidate."""

import itertools
import time
from dataclasses import dataclass
from typing import Any

from hadnas.samplers.draw import draw_from, drawn_by
from hadnas.samplers.sampler import Seeded
from hadnas.search.tally import RunningTally
from hadnas.space import Params, meanings, replay
from hadnas.store.study import Study
from hadnas.store.trials import FIGURES, REASON, RUN_ID, RUNG, WORKER, Trials, baseline_entries, draw_of
from hadnas.store.worker import Claims, Held


@dataclass(frozen=True)
class Proposal:
    """A draw that this worker has claimed.

    held     the claim
    number   of its trial
    node     the draw; `params` are its choices
    left     the MLflow run of a worker that died at it, or None
    seconds  of sampling
    """

    held: Held
    number: int
    node: Any
    params: Params
    left: str | None
    seconds: float


def propose(
    study: Study,
    trials: Trials,
    claims: Claims,
    sampler: Seeded,
    counts: RunningTally,
    answers: Params | None = None,
) -> Proposal | None:
    """The next draw of a study; None if the workers at earlier ones are enough for the budget.

    counts: of the study's trials, which are counted on
    answers: those of an enqueued draw, proposed in place of the sampler's and beyond the budget, too

    The trial of a worker that died is continued first, with its number and its parameters.
    """
    while True:
        counts.update(trials.all())
        held = claims.take(study.name, (_item(draw) for draw in itertools.count() if not counts.has_ended(draw)))
        assert held is not None  # the numbers never end
        with claims.holding(held):
            draw = _draw(held.item)
            done = counts.update(trials.all()).done
            if counts.has_ended(draw):  # by another worker, before it was taken
                claims.end(held)
                continue
            at_work = [_draw(item) for item in claims.at_work(study.name) if item.startswith(_item(""))]
            earlier = sum(other < draw for other in at_work)
            if answers is None and earlier >= study.trials - done:
                claims.give_back(held)
                return None
            return _proposal(study, trials, sampler, held, draw, answers, claims.worker.id)


def _proposal(
    study: Study, trials: Trials, sampler: Seeded, held: Held, draw: int, answers: Params | None, worker: str
) -> Proposal:
    if (trial := trials.running(draw)) is not None:
        left = trial.user_attrs.get(RUN_ID)
        unsaid = [name for name in (REASON, RUNG) if name in trial.user_attrs]  # by one that died before it told
        trials.note(trial.number, **dict.fromkeys([RUN_ID, *unsaid]), **{WORKER: worker})  # until there is another
        params = meanings(study.space, trial.params)
        return Proposal(held, trial.number, replay(study.space, trial.params), params, left, 0.0)
    start = time.perf_counter()
    if answers is not None:
        drawn = drawn_by(study.space, answers)
    else:
        drawn = draw_from(study.space, sampler(draw), study.directions, trials.all())
    seconds = time.perf_counter() - start
    added = trials.add(draw, drawn.answers, drawn.distributions, drawn.kept, worker)
    return Proposal(held, added.number, drawn.node, drawn.params, None, seconds)


def clear_done(study: str, trials: Trials, claims: Claims) -> None:
    """Remove the items of finished draws and trained baselines, which dead workers left."""
    done = {_item(draw_of(trial)) for trial in trials.all() if trial.state.is_finished()}
    entries = baseline_entries(trials.book).items()
    done |= {f"baseline {name}" for name, entry in entries if FIGURES in entry and REASON not in entry}
    claims.clear(study, done)


def drop_left(study: str, trials: Trials, claims: Claims) -> None:
    """End the trials of dead workers, once the study needs no further one."""
    for trial in trials.all():
        if not trial.state.is_finished() and (held := claims.take(study, [_item(draw_of(trial))])) is not None:
            trials.drop(trial.number)
            claims.end(held)


def _item(draw: object) -> str:
    return f"draw {draw}"


def _draw(item: str) -> int:
    return int(item.removeprefix(_item("")))
