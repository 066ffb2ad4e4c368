"""Samplers by name: their options with defaults, and how one is made for a draw.

A study that stops and goes on must give the trials of one that runs through. Optuna's samplers start their random
numbers anew in every process and keep caches whose order depends on when a process joined. So every draw gets a sampler
of its own, seeded by the study's seed and the number of the draw: what it suggests depends on those two and on the
trials before it, and on nothing else.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from hadnas.errors import SpecError, unknown


@dataclass(frozen=True)
class Sampler:
    """A registered sampler: `make(seed=..., **options)` gives one of Optuna's; `options` are the defaults."""

    name: str
    make: Callable[..., BaseSampler]
    options: dict[str, object]
    adaptive: bool


_SAMPLERS: dict[str, Sampler] = {}

Seeded = Callable[[int], BaseSampler]
"""The number of a draw -> the sampler of that draw."""


def sampler(name: str, *, adaptive: bool = True, **options: object) -> Callable[[Callable[..., BaseSampler]], Any]:
    """Register what makes a sampler, a class or function with `seed`, under a name.

    adaptive  whether it chooses by what earlier trials found
    options   its options with their defaults: True or False, an integer of at least 1, or a number between 0 and 1
    """

    def decorate(make: Callable[..., BaseSampler]) -> Callable[..., BaseSampler]:
        _SAMPLERS[name] = Sampler(name, make, options, adaptive)
        return make

    return decorate


@cache
def _load_shipped() -> None:
    """Import every file of this folder, so that adding a sampler means adding a file."""
    package = importlib.import_module("hadnas.samplers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"hadnas.samplers.{module.name}")


def samplers() -> dict[str, Sampler]:
    """Every registered sampler by name."""
    _load_shipped()
    return dict(_SAMPLERS)


def make_sampler(name: str = "tpe", seed: int = 0, options: Mapping[str, object] | None = None) -> Seeded:
    """What gives each draw its sampler: the sampler `name` with `options` over its defaults.

    Raises `UnknownName` for a sampler or an option that does not exist, `SpecError` for a value that does not fit.
    """
    known = samplers()
    if name not in known:
        raise unknown("sampler", name, known)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise SpecError(f"seed {seed!r}: expected an integer of at least 0")
    chosen = dict(known[name].options)
    for option, value in (options or {}).items():
        if option not in chosen:
            raise unknown(f"option of sampler {name!r}", option, chosen)
        chosen[option] = _fitting(f"sampler {name!r}, option {option!r}", value, chosen[option])

    def seeded(draw: int) -> BaseSampler:
        own = int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of TPE's `group`, and of the exhaustive one
            return known[name].make(seed=own, **chosen)

    try:
        seeded(0)  # options that clash are refused now
    except (TypeError, ValueError) as error:
        raise SpecError(f"sampler {name!r}: {error}") from error
    return seeded


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
