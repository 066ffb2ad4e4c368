"""What a sampler is asked at a choice: ordered numbers or labels, and the option of each answer."""

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hadnas.errors import SpecError

Scalar = None | bool | int | float | str


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

    @cached_property
    def values(self) -> tuple[int, ...]:
        return tuple(range(self.low, self.high + 1, self.step))

    def meaning(self, answer: Scalar) -> Scalar:
        """The answer, or the option of that index."""
        return self.options[int(answer or 0)] if self.options else answer


Distribution = Categorical | Integer


@dataclass(frozen=True)
class Decision:
    """A choice as a question to the sampler, and the option of each answer."""

    distribution: Distribution
    branches: dict[Scalar, tuple[str, Any]]  # value -> (suffix of the names inside the option, option)


def among_numbers(low: int, high: int, step: int) -> Decision:
    """The decision at a range of integers."""
    numbers = Integer(low, high, step)
    return Decision(numbers, {value: ("", value) for value in numbers.values})


def among_options(options: tuple[Any, ...]) -> Decision:
    """The decision at a choice. Raises SpecError if two options have one label."""
    if (
        all(type(option) in (int, float) for option in options)
        and list(options) == sorted(options)
        and len(options) > 1
    ):
        steps = {b - a for a, b in itertools.pairwise(options)}
        if all(type(option) is int for option in options) and len(steps) == 1:
            return Decision(Integer(options[0], options[-1], steps.pop()), {o: ("", o) for o in options})
        numbers = Integer(0, len(options) - 1, options=tuple(options))
        return Decision(numbers, {i: ("", o) for i, o in enumerate(options)})
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
    return Decision(Categorical(tuple(branches), described), branches)


def _differing_settings(option: dict[str, Any], alike: list[dict[str, Any]]) -> str:
    """The scalar settings of `option` that differ among the options of its op."""
    settings = {key: value for key, value in option.items() if isinstance(value, Scalar)}
    return "".join(f" {k}={v}" for k, v in settings.items() if any(other.get(k) != v for other in alike))


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("op"), str)
