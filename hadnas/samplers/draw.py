"""One draw from a space: a sampler is asked in a study in memory that holds the history.

So nothing is in the database before the draw is whole.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, TrialState

from hadnas.space import Categorical, Distribution, Params, resolve


@dataclass(frozen=True)
class Drawn:
    """A draw: its node, and what Optuna keeps of it.

    answers  parameter -> what the sampler answered; `params`: what each answer stands for
    kept     what the sampler keeps with the trial for later draws
    """

    node: Any
    params: Params
    answers: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    kept: dict[str, Any]


def draw_from(
    space: Any,
    sampler: BaseSampler,
    directions: Sequence[Literal["maximize", "minimize"]],
    history: Iterable[FrozenTrial],
) -> Drawn:
    """A draw from `space` by `sampler`, after the trials of `history`; failed ones count for nothing."""
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.add_trials(trial for trial in history if trial.state != TrialState.FAIL)
    trial, params = study.ask(), Params()
    node = resolve(space, optuna_pick(trial, params))
    asked = study.get_trials(deepcopy=False)[-1]
    return Drawn(node, params, asked.params, asked.distributions, asked.system_attrs)


def drawn_by(space: Any, answers: Params) -> Drawn:
    """The draw of given answers. Raises SpecError if they are not those of a draw of `space`."""
    trial, params = FixedTrial(answers), Params()
    node = resolve(space, optuna_pick(trial, params))
    return Drawn(node, params, trial.params, trial.distributions, {})


def optuna_pick(trial: BaseTrial, params: Params) -> Callable[[str, Distribution], Any]:
    """A pick that asks Optuna and notes in `params` what every answer stands for."""

    def pick(name: str, distribution: Distribution) -> Any:
        if isinstance(distribution, Categorical):
            value = trial.suggest_categorical(name, distribution.values)
        else:
            value = trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
        params[name] = distribution.meaning(value)
        return value

    return pick
