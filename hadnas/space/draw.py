"""One recursive function that replaces every choice of a space; samplers supply nothing but `pick`.

A parameter's name is its place and branch: `stages.1.blocks.0.block.star.expand`, with the option's index where two
options bear the same op (`block#2.star`), so that one name always has the same options.
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
    """Unordered labels, as a sampler sees them; `told_apart` are those of one op, with the settings they differ in."""

    values: tuple[Scalar, ...]
    told_apart: Mapping[Scalar, str] = field(default_factory=dict, compare=False)

    def meaning(self, answer: Scalar) -> Scalar:
        """What an answer stands for: itself, with the settings that tell it from others of its op."""
        return self.told_apart.get(answer, answer)


@dataclass(frozen=True)
class Integer:
    """Ordered values `low, low + step, ..., high`, as a sampler sees them; unevenly spaced `options` by their index."""

    low: int
    high: int
    step: int = 1
    options: tuple[int | float, ...] = ()

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(range(self.low, self.high + 1, self.step))

    def meaning(self, answer: Scalar) -> Scalar:
        """What an answer stands for: itself, or the option of that index."""
        return self.options[int(answer or 0)] if self.options else answer


Distribution = Categorical | Integer
Pick = Callable[[str, Distribution], Scalar]
Params = dict[str, Scalar]


@dataclass(frozen=True)
class _Decision:
    """A choice seen from a place: what the sampler is asked, and what each answer stands for."""

    distribution: Distribution
    branches: dict[Scalar, tuple[str, Any]]  # value -> (suffix of the names inside the option, option)


def decision(choice: Choice | IntRange) -> _Decision:
    """What a sampler is asked at a choice, and what each answer leads to."""
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
    told_apart: dict[Scalar, str] = {}
    for index, option in enumerate(options):
        if _is_node(option):
            name = option["op"]
            if len(ops[name]) == 1:
                label, suffix = name, f".{name}"
            else:
                label, suffix = f"{name}#{index}", f"#{index}.{name}"
                told_apart[label] = f"{label}{_own_settings(option, ops[name])}"
        elif isinstance(option, Scalar):
            label, suffix = option, ""
        else:
            label, suffix = f"#{index}", f"#{index}"
        if label in branches:  # a scalar that spells like an op, or 1 beside True
            raise SpecError(f"the options {branches[label][1]!r} and {option!r} of one choice cannot be told apart")
        branches[label] = (suffix, option)
    return _Decision(Categorical(tuple(branches), told_apart), branches)


def _own_settings(option: dict[str, Any], alike: list[dict[str, Any]]) -> str:
    """The settings without a choice that not all options of one op share."""
    settings = {key: value for key, value in option.items() if isinstance(value, Scalar)}
    return "".join(f" {k}={v}" for k, v in settings.items() if any(other.get(k) != v for other in alike))


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("op"), str)


def sample(space: Any, pick: Pick) -> Any:
    """Replace every choice of `space` by what `pick(name, distribution)` answers and return the draw, plain data.

    Raises SpecError if an answer is not among the values of its distribution, or if one name stands for different
    choices.
    """
    check_names(space)
    shared: dict[str, Any] = {}

    def resolve(value: Any, path: str) -> Any:
        if isinstance(value, Choice | IntRange):
            if value.name is None:
                return choose(value, path or ROOT)
            if value.name not in shared:
                shared[value.name] = choose(value, value.name)
            return copy.deepcopy(shared[value.name])
        if isinstance(value, Repeat):
            return items(value, path)
        if isinstance(value, dict):
            return {key: resolve(item, join(path, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            # A spliced item keeps its place in the space's own list, so a name never depends on its neighbours.
            out: list[Any] = []
            for index, item in enumerate(value):
                here = join(path, index)
                out.extend(items(item, here) if isinstance(item, Repeat) else [resolve(item, here)])
            return out
        return value

    def choose(choice: Choice | IntRange, path: str) -> Any:
        with at(path):
            decided = decision(choice)
        answer = pick(path, decided.distribution)
        # True is no answer to 1: equal as keys, they would stand for one draw under two sets of parameters.
        if not any(type(answer) is type(value) and answer == value for value in decided.distribution.values):
            raise SpecError(f"{path} = {answer!r} is not allowed; allowed are {list(decided.distribution.values)}")
        suffix, option = decided.branches[answer]
        return resolve(option, path + suffix)

    def items(value: Repeat, path: str) -> list[Any]:
        times = resolve(value.times, join(path, "times"))
        return [resolve(value.item, join(path, index)) for index in range(times)]

    return resolve(space, "")


def random_pick(rng: random.Random, params: Params | None = None) -> Pick:
    """A pick that draws uniformly from `rng` and, if given, notes every answer in `params`."""

    def pick(name: str, distribution: Distribution) -> Scalar:
        value: Scalar = rng.choice(distribution.values)
        if params is not None:
            params[name] = value
        return value

    return pick


def replay(space: Any, params: Mapping[str, Scalar]) -> Any:
    """The draw that `params` (name -> value) describe. Raises SpecError if one is missing, unused or not allowed."""
    used: set[str] = set()

    def pick(name: str, distribution: Distribution) -> Scalar:
        if name not in params:
            raise SpecError(f"{name}: no value given; allowed are {list(distribution.values)}")
        used.add(name)
        return params[name]

    draw = sample(space, pick)
    if unused := sorted(set(params) - used):
        raise SpecError(f"the parameters {unused} belong to no choice of this draw")
    return draw


def meanings(space: Any, params: Mapping[str, Scalar]) -> Params:
    """`params` by what each answer stands for; a draw may have been cut short."""
    out: Params = {}

    def pick(name: str, distribution: Distribution) -> Scalar:
        if name not in params:
            return distribution.values[0]
        out[name] = distribution.meaning(params[name])
        return params[name]

    sample(space, pick)
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

        yield params, sample(space, pick)
        # Count up like an odometer whose wheels depend on the wheels to their left.
        while prefix and prefix[-1] + 1 == lengths[len(prefix) - 1]:
            prefix.pop()
        if not prefix:
            return
        prefix[-1] += 1


def mutate(space: Any, params: Mapping[str, Scalar], rng: random.Random) -> tuple[Params, Any]:
    """Redraw one decision of `params` to another value and return (params, draw).

    Decisions that still exist keep their value; those that the change brings in are drawn from `rng`. Raises SpecError
    if `params` describe no draw, or if no decision has a second value.
    """
    distributions: dict[str, Distribution] = {}

    def look(name: str, distribution: Distribution) -> Scalar:
        distributions[name] = distribution
        if name not in params:
            raise SpecError(f"{name}: no value given; allowed are {list(distribution.values)}")
        return params[name]

    sample(space, look)
    movable = [name for name, distribution in distributions.items() if len(distribution.values) > 1]
    if not movable:
        raise SpecError("this draw has no decision with a second value; there is nothing to mutate")
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

    return mutated, sample(space, pick)
