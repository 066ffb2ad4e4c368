"""Samplers by name: their options with defaults, and how one is made for a draw.

A study that stops and goes on must give the trials of one that runs through. Optuna's samplers start their random
numbers anew in every process and keep caches whose order depends on when a process joined. So every draw gets a sampler
of its own, seeded by the study's seed and the number of the draw: what it suggests depends on those two and on the
trials before it, and on nothing else.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from hadnas.errors import SpecError, unknown
from hadnas.samplers.problem import Problem
from hadnas.shipped import import_all


@dataclass(frozen=True)
class Sampler:
    """A registered sampler: `make(seed=..., **options)` gives one of Optuna's; `options` are the defaults.

    An informed one is made with `problem=...`, too. `most_objectives`: None for any number.
    """

    name: str
    make: Callable[..., BaseSampler]
    options: dict[str, object]
    adaptive: bool
    informed: bool
    most_objectives: int | None


_SAMPLERS: dict[str, Sampler] = {}

Seeded = Callable[[int], BaseSampler]
"""The number of a draw -> the sampler of that draw."""


def sampler(
    name: str,
    *,
    adaptive: bool = True,
    informed: bool = False,
    most_objectives: int | None = None,
    **options: object,
) -> Callable[[Callable[..., BaseSampler]], Any]:
    """Register what makes a sampler, a class or function with `seed`, under a name.

    adaptive         whether it chooses by what earlier trials found
    informed         whether it takes the `Problem`, too, as `problem`
    most_objectives  that it takes; None for any number
    options          its options with their defaults: True or False, an integer of at least 1, or a number between 0
                     and 1
    """

    def decorate(make: Callable[..., BaseSampler]) -> Callable[..., BaseSampler]:
        _SAMPLERS[name] = Sampler(name, make, options, adaptive, informed, most_objectives)
        return make

    return decorate


def samplers() -> dict[str, Sampler]:
    """Every registered sampler by name."""
    import_all("hadnas.samplers")
    return dict(_SAMPLERS)


def check_sampler(name: str, seed: int, options: Mapping[str, object], objectives: int) -> dict[str, object]:
    """Every option of the sampler `name`, `options` over the defaults.

    Raises `UnknownName` for a sampler or an option that does not exist, `SpecError` for a value that does not fit, or
    for more objectives than it takes.
    """
    known = samplers()
    if name not in known:
        raise unknown("sampler", name, known)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise SpecError(f"seed {seed!r}: expected an integer of at least 0")
    most = known[name].most_objectives
    if most is not None and objectives > most:
        raise SpecError(f"sampler {name!r} takes at most {most} objectives; found {objectives}")
    chosen = dict(known[name].options)
    for option, value in options.items():
        if option not in chosen:
            raise unknown(f"option of sampler {name!r}", option, chosen)
        chosen[option] = _fitting(f"sampler {name!r}, option {option!r}", value, chosen[option])
    if not known[name].informed:  # options that clash are refused now
        _make(known[name], chosen, 0, None)
    return chosen


def make_sampler(
    name: str = "tpe",
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    problem: Problem | None = None,
) -> Seeded:
    """What gives each draw its sampler: the sampler `name` with `options` over its defaults.

    problem  the search; an informed sampler needs it

    Raises as `check_sampler`, and SpecError for an informed sampler without a problem.
    """
    chosen = check_sampler(name, seed, options or {}, len(problem.objectives) if problem else 1)
    made = samplers()[name]
    if made.informed and problem is None:
        raise SpecError(f"sampler {name!r} needs the problem: the space, and what is known of its networks")

    def seeded(draw: int) -> BaseSampler:
        return _make(made, chosen, int(np.random.SeedSequence([seed, draw]).generate_state(1)[0]), problem)

    return seeded


def _make(made: Sampler, options: dict[str, object], seed: int, problem: Problem | None) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of TPE's `group`, and of the exhaustive one
        try:
            return made.make(seed=seed, **options, **({"problem": problem} if made.informed else {}))
        except (TypeError, ValueError) as error:
            raise SpecError(f"sampler {made.name!r}: {error}") from error


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
