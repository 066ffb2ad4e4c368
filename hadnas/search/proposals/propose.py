"""The next draw to evaluate, one that no other worker has, with its candidate."""

import itertools
import time
from dataclasses import dataclass
from typing import Any

from hadnas.samplers.draw import draw_from, drawn_by
from hadnas.samplers.sampler import Seeded
from hadnas.search.tally import tally
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
    study: Study, trials: Trials, claims: Claims, sampler: Seeded, answers: Params | None = None
) -> Proposal | None:
    """The next draw of a study; None if the workers at earlier ones are enough for the budget.

    answers: those of an enqueued draw, proposed in place of the sampler's and beyond the budget, too

    The trial of a worker that died is continued first, with its number and its parameters.
    """
    while True:
        known = trials.all()
        finished = {draw_of(trial) for trial in known if trial.state.is_finished()}
        held = claims.take(study.name, (_item(draw) for draw in itertools.count() if draw not in finished))
        assert held is not None  # the numbers never end
        with claims.holding(held):
            draw = int(held.item.removeprefix(_item("")))
            known = trials.all()  # another worker may have ended this draw before it was taken
            if any(draw_of(trial) == draw and trial.state.is_finished() for trial in known):
                claims.end(held)
                continue
            at_work = claims.at_work(study.name)
            earlier = sum(_item(other) in at_work for other in range(draw))
            if answers is None and earlier >= study.trials - tally(known, study.metric_figure).done:
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
