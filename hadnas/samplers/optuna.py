"""Samplers by name, made so that a study that stops and goes on gives the trials of one that runs through.

Optuna's samplers start their random numbers anew in every process, so a resumed study would repeat its first draws;
they also keep caches whose order depends on when a process joined. Here a trial gets a sampler of its own, seeded by
the study's seed and the number of the draw: what it suggests depends on those two and on the trials before it, and
on nothing else. The draw of a failed trial (an interrupted one, a killed worker) is taken up again by the next.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, BruteForceSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from hadnas.errors import SpecError, unknown
from hadnas.space import Categorical, Distribution, Params
from hadnas.store.worker import this_host

OPTIONS: dict[str, dict[str, object]] = {
    "tpe": {
        "multivariate": True,
        "group": True,  # without it conditional parameters are sampled apart
        "constant_liar": True,
        "n_startup_trials": 10,
        "n_ei_candidates": 24,
    },
    "nsga2": {"population_size": 50, "crossover_prob": 0.9, "swapping_prob": 0.5, "mutation_prob": None},
    "random": {},
    "exhaustive": {},
}
"""The options of each sampler with their defaults."""

_DRAW = "hadnas:draw"


def make_sampler(name: str = "tpe", seed: int = 0, options: Mapping[str, object] | None = None) -> BaseSampler:
    """The sampler `name` with `options` over its defaults; `exhaustive` meets every assignment once, in random order.

    Raises `UnknownName` for a sampler or an option that does not exist, `SpecError` for a value that does not fit.
    """
    if name not in OPTIONS:
        raise unknown("sampler", name, OPTIONS)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise SpecError(f"seed {seed!r}: expected an integer of at least 0")
    chosen = dict(OPTIONS[name])
    for option, value in (options or {}).items():
        if option not in chosen:
            raise unknown(f"option of sampler {name!r}", option, chosen)
        chosen[option] = _fitting(f"sampler {name!r}, option {option!r}", value, chosen[option])
    kind: Callable[..., BaseSampler] = {
        "tpe": TPESampler,
        "nsga2": _NSGA2,
        "random": RandomSampler,
        "exhaustive": _Exhaustive,
    }[name]
    sampler = SeededSampler(lambda trial_seed: kind(seed=trial_seed, **chosen), seed)
    sampler.check(f"sampler {name!r}")
    return sampler


def optuna_pick(trial: Trial, params: Params) -> Callable[[str, Distribution], Any]:
    """A pick that asks Optuna and notes in `params` what every answer stands for."""

    def pick(name: str, distribution: Distribution) -> Any:
        if isinstance(distribution, Categorical):
            value = trial.suggest_categorical(name, distribution.values)
        else:
            value = trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
        params[name] = distribution.meaning(value)
        return value

    return pick


class SeededSampler(BaseSampler):
    """A fresh sampler for every trial: `make(seed)` with a seed from the study's seed and the draw's number."""

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._of: dict[int, BaseSampler] = {}

    def check(self, where: str) -> None:
        """Make one sampler, so that options that clash are refused now: `SpecError`."""
        try:
            self._fresh(0)
        except (TypeError, ValueError) as error:
            raise SpecError(f"{where}: {error}") from error

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        # first of all: a worker that dies while it draws leaves a trial that others can tell from one that runs
        study._storage.set_trial_user_attr(trial._trial_id, "worker", [this_host(), os.getpid()])
        self._of[trial.number] = sampler = self._fresh(_take_draw(study, trial))
        sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of[trial.number].infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of[trial.number].sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of[trial.number].sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        # A trial that another process began (a stale one) is told here too, without a sampler of this process.
        (self._of.pop(trial.number, None) or self._fresh(trial.number)).after_trial(study, trial, state, values)

    def _fresh(self, draw: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._seed, draw]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of TPE's `group`, and of the exhaustive one
            return self._make(seed)


class _NSGA2(NSGAIISampler):
    """NSGA-II whose parents come in one order, whether this trial chose them or found them chosen by an earlier one."""

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


class _Exhaustive(BruteForceSampler):
    """Every assignment once; one whose trial failed (was interrupted) is met again."""

    @staticmethod
    def _populate_tree(tree: Any, trials: list[FrozenTrial], params: dict[str, Any]) -> None:
        met = [trial for trial in trials if trial.state != TrialState.FAIL]
        BruteForceSampler._populate_tree(tree, met, params)


def _take_draw(study: Study, trial: FrozenTrial) -> int:
    """The lowest draw that no trial holds: the trial's own number, or lower where trials failed before it."""
    if _DRAW in trial.system_attrs:  # a retry of a stale trial: the same draw
        return int(trial.system_attrs[_DRAW])
    others = (t for t in study.get_trials(deepcopy=False) if t.number != trial.number and t.state != TrialState.FAIL)
    held = {t.system_attrs.get(_DRAW, t.number) for t in others}
    draw = next(number for number in range(trial.number + 1) if number not in held)
    study._storage.set_trial_system_attr(trial._trial_id, _DRAW, draw)  # as Optuna's own samplers keep their state
    return draw


def _fitting(where: str, value: object, default: object) -> object:
    if isinstance(default, bool):
        fits, allowed = isinstance(value, bool), "True or False"
    elif isinstance(default, int):
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        allowed = "an integer of at least 1"
    else:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
        fits, allowed = fits or value is default, "a number between 0 and 1"
    if not fits:
        raise SpecError(f"{where}: {value!r} is not {allowed}")
    return value
