"""One recursive function that replaces every choice of a space; a sampler supplies only `pick`.

A parameter's name is its path and branch: `stages.1.blocks.0.block.star.expand`, with the option's index if two options
have the same op (`block#2.star`), so that one name always has the same options.
"""

import copy
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hadnas.errors import SpecError, at
from hadnas.space.choices import ROOT, Choice, IntRange, Repeat, Scalar, check_names, join


@dataclass(frozen=True)
class Categorical:
    """Unordered labels, as a sampler sees them; `described` has, for options of one op, the settings that differ."""

    values: tuple[Scalar, ...]
    described: Mapping[Scalar, str] = field(default_factory=dict, compare=False)

    def meaning(self, answer: Scalar) -> Scalar:
        """The answer, followed by the settings that distinguish it from other options of its op."""
        return self.described.get(answer, answer)


@dataclass(frozen=True)
class Integer:
    """Ordered values `low, low + step, ..., high`, as a sampler sees them; for uneven `options`, their indices."""

    low: int
    high: int
    step: int = 1
    options: tuple[int | float, ...] = ()

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(range(self.low, self.high + 1, self.step))

    def meaning(self, answer: Scalar) -> Scalar:
        """The answer, or the option of that index."""
        return self.options[int(answer or 0)] if self.options else answer


Distribution = Categorical | Integer
Pick = Callable[[str, Distribution], Scalar]
Params = dict[str, Scalar]


@dataclass(frozen=True)
class _Decision:
    """A choice as a question to the sampler, and the option of each answer."""

    distribution: Distribution
    branches: dict[Scalar, tuple[str, Any]]  # value -> (suffix of the names inside the option, option)


def decision(choice: Choice | IntRange) -> _Decision:
    """A choice as a question to the sampler. Raises SpecError if two options have one label."""
    if isinstance(choice, IntRange):
        numbers = Integer(choice.low, choice.high, choice.step)
        return _Decision(numbers, {value: ("", value) for value in numbers.values})
    options = choice.options
    if (
        all(type(option) in (int, float) for option in options)
        and list(options) == sorted(options)
        and len(options) > 1
    ):
        steps = {b - a for a, b in itertools.pairwise(options)}
        if all(type(option) is int for option in options) and len(steps) == 1:
            return _Decision(Integer(options[0], options[-1], steps.pop()), {o: ("", o) for o in options})
        numbers = Integer(0, len(options) - 1, options=tuple(options))
        return _Decision(numbers, {i: ("", o) for i, o in enumerate(options)})
    ops: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for option in filter(_is_node, options):
        ops[option["op"]].append(option)
    branches: dict[Scalar, tuple[str, Any]] = {}
    described: dict[Scalar, str] = {}
    for index, option in enumerate(options):
        if _is_node(option):
            name = option["op"]
            if len(ops[name]) == 1:
                label, suffix = name, f".{name}"
            else:
                label, suffix = f"{name}#{index}", f"#{index}.{name}"
                described[label] = f"{label}{_differing_settings(option, ops[name])}"
        elif isinstance(option, Scalar):
            label, suffix = option, ""
        else:
            label, suffix = f"#{index}", f"#{index}"
        if label in branches:  # a string equal to an op's name, or 1 and True
            raise SpecError(f"the options {branches[label][1]!r} and {option!r} of one choice have the same label")
        branches[label] = (suffix, option)
    return _Decision(Categorical(tuple(branches), described), branches)


def _differing_settings(option: dict[str, Any], alike: list[dict[str, Any]]) -> str:
    """The scalar settings of `option` that differ among the options of its op."""
    settings = {key: value for key, value in option.items() if isinstance(value, Scalar)}
    return "".join(f" {k}={v}" for k, v in settings.items() if any(other.get(k) != v for other in alike))


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("op"), str)


def resolve(space: Any, pick: Pick) -> Any:
    """Replace every choice of `space` by the answer of `pick(name, distribution)` and return the draw, plain data.

    Raises SpecError if an answer is not among the values of its distribution, or if two different choices have one
    name.
    """
    check_names(space)
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
        with at(path):
            decided = decision(choice)
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
    """`params` with the meaning of each answer; `params` may be those of an incomplete draw."""
    out: Params = {}

    def pick(name: str, distribution: Distribution) -> Scalar:
        if name not in params:
            return distribution.values[0]
        out[name] = distribution.meaning(params[name])
        return params[name]

    resolve(space, pick)
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


def mutate(space: Any, params: Mapping[str, Scalar], rng: random.Random) -> tuple[Params, Any]:
    """Redraw one decision of `params` to another value and return (params, draw).

    Decisions that still exist retain their value; new ones are drawn from `rng`. Raises SpecError if `params` are not
    those of a draw, or if no decision has a second value.
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
    target = rng.choice(movable)
    mutated: Params = {}

    def pick(name: str, distribution: Distribution) -> Scalar:
        if name == target:
            mutated[name] = rng.choice([value for value in distribution.values if value != params[name]])
        elif name in params and params[name] in distribution.values:
            mutated[name] = params[name]
        else:
            mutated[name] = rng.choice(distribution.values)
        return mutated[name]

    return mutated, resolve(space, pick)
