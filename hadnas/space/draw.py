"""One recursive function that replaces every choice of a space; a sampler supplies only `pick`.

A parameter's name is its path and branch: `stages.1.blocks.0.block.star.expand`, with the option's index if two options
have the same op (`block#2.star`), so that one name always has the same options.
"""

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hadnas.errors import SpecError
from hadnas.space.choices import ROOT, Choice, IntRange, Repeat, check_names, join
from hadnas.space.decision import Distribution, Scalar

Pick = Callable[[str, Distribution], Scalar]
Params = dict[str, Scalar]


def resolve(space: Any, pick: Pick) -> Any:
    """Replace every choice of `space` by the answer of `pick(name, distribution)` and return the draw, plain data.

    Raises SpecError if an answer is not among the values of its distribution, or if two different choices have one
    name.
    """
    check_names(space)
    return _resolved(space, pick)


def _resolved(space: Any, pick: Pick) -> Any:
    """What `resolve` returns, of a space whose names were checked."""
    shared: dict[str, Any] = {}

    def visit(value: Any, path: str) -> Any:
        if isinstance(value, Choice | IntRange):
            if value.name is None:
                return choose(value, path or ROOT)
            if value.name not in shared:
                shared[value.name] = choose(value, value.name)
            return copy.deepcopy(shared[value.name])
        if isinstance(value, Repeat):
            return items(value, path)
        if isinstance(value, dict):
            return {key: visit(item, join(path, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            # An item's name has its index in the space's list, so it does not depend on how often others repeat.
            out: list[Any] = []
            for index, item in enumerate(value):
                here = join(path, index)
                out.extend(items(item, here) if isinstance(item, Repeat) else [visit(item, here)])
            return out
        return value

    def choose(choice: Choice | IntRange, path: str) -> Any:
        try:  # `at` would take as long as all else here
            decided = choice.decision
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error
        answer = pick(path, decided.distribution)
        # True == 1, so accepting True for 1 would give one draw two sets of parameters.
        if not any(type(answer) is type(value) and answer == value for value in decided.distribution.values):
            raise SpecError(f"{path} = {answer!r} is not allowed; allowed are {list(decided.distribution.values)}")
        suffix, option = decided.branches[answer]
        return visit(option, path + suffix)

    def items(value: Repeat, path: str) -> list[Any]:
        times = visit(value.times, join(path, "times"))
        return [visit(value.item, join(path, index)) for index in range(times)]

    return visit(space, "")


def random_pick(rng: random.Random, params: Params | None = None) -> Pick:
    """A pick that draws uniformly from `rng` and, if given, records every answer in `params`."""

    def pick(name: str, distribution: Distribution) -> Scalar:
        value: Scalar = rng.choice(distribution.values)
        if params is not None:
            params[name] = value
        return value

    return pick


def replay(space: Any, params: Mapping[str, Scalar]) -> Any:
    """The draw of `params` (name -> value). Raises SpecError if one is missing, unused or not allowed."""
    used: set[str] = set()

    def pick(name: str, distribution: Distribution) -> Scalar:
        if name not in params:
            raise SpecError(f"{name}: no value given; allowed are {list(distribution.values)}")
        used.add(name)
        return params[name]

    found = resolve(space, pick)
    if unused := sorted(set(params) - used):
        raise SpecError(f"the parameters {unused} belong to no choice of this draw")
    return found


def meanings(space: Any, params: Mapping[str, Scalar]) -> Params:
    """`params` with the meaning of each answer; `params` may be those of an incomplete draw.

    The names in `space` are not checked again: it gave these draws.
    """
    out: Params = {}

    def pick(name: str, distribution: Distribution) -> Scalar:
        if name not in params:
            return distribution.values[0]
        out[name] = distribution.meaning(params[name])
        return params[name]

    _resolved(space, pick)
    return out


def every(space: Any) -> Iterator[tuple[Params, Any]]:
    """Every assignment of `space` once, as (params, draw), in the order of the options."""
    prefix: list[int] = []
    while True:
        params: Params = {}
        lengths: list[int] = []

        def pick(
            name: str, distribution: Distribution, params: Params = params, lengths: list[int] = lengths
        ) -> Scalar:
            position = len(lengths)
            lengths.append(len(distribution.values))
            if position == len(prefix):
                prefix.append(0)
            params[name] = distribution.values[prefix[position]]
            return params[name]

        yield params, resolve(space, pick)
        # Count up like an odometer whose wheels depend on the wheels to their left.
        while prefix and prefix[-1] + 1 == lengths[len(prefix) - 1]:
            prefix.pop()
        if not prefix:
            return
        prefix[-1] += 1


def draws(space: Any, rng: random.Random) -> Iterator[tuple[Params, Any]]:
    """Random draws without end, as (params, draw)."""
    check_names(space)
    while True:
        params: Params = {}
        yield params, _resolved(space, random_pick(rng, params))


def mutants(
    space: Any, params: Mapping[str, Scalar], rng: random.Random, further: float = 0.0
) -> Iterator[tuple[Params, Any]]:
    """Mutants of a draw without end, as (params, draw): one decision has another value.

    Decisions that still exist retain their value; new ones are drawn from `rng`.

    further  the chance that one more decision is changed, again and again

    Raises SpecError if `params` are not those of a draw, or if no decision has a second value.
    """
    distributions: dict[str, Distribution] = {}

    def look(name: str, distribution: Distribution) -> Scalar:
        distributions[name] = distribution
        if name not in params:
            raise SpecError(f"{name}: no value given; allowed are {list(distribution.values)}")
        return params[name]

    resolve(space, look)
    movable = [name for name, distribution in distributions.items() if len(distribution.values) > 1]
    if not movable:
        raise SpecError("no decision of this draw has a second value; there is nothing to mutate")
    while True:
        targets = {rng.choice(movable)}
        while rng.random() < further:
            targets.add(rng.choice(movable))
        mutated: Params = {}

        def pick(
            name: str, distribution: Distribution, mutated: Params = mutated, targets: set[str] = targets
        ) -> Scalar:
            if name in targets:
                mutated[name] = rng.choice([value for value in distribution.values if value != params[name]])
            elif name in params and params[name] in distribution.values:
                mutated[name] = params[name]
            else:
                mutated[name] = rng.choice(distribution.values)
            return mutated[name]

        yield mutated, _resolved(space, pick)
