"""The language of search spaces: dicts, lists and scalars, with choices in some places.

op("star", expand=one_of(2, 3, 4), kernel=one_of(3, 5, 7), interact=one_of("mul", "sum"))
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hadnas.errors import SpecError, cut
from hadnas.plain import as_given, plain
from hadnas.space.decision import Decision, among_numbers, among_options

ROOT = "space"  # the name of a choice that is the whole space

MAX_OPTIONS = 10_000
"""The most numbers of a range, and the most repetitions: samplers list them all."""


@dataclass(frozen=True)
class Choice:
    """One of several options, each a scalar, a node, a list or again a choice."""

    options: tuple[Any, ...]
    name: str | None = None

    @cached_property
    def decision(self) -> Decision:
        """What a sampler is asked here."""
        return among_options(self.options)


@dataclass(frozen=True)
class IntRange:
    """An integer from `low` to `high`, both included, in steps of `step`."""

    low: int
    high: int
    step: int = 1
    name: str | None = None

    @cached_property
    def decision(self) -> Decision:
        """What a sampler is asked here."""
        return among_numbers(self.low, self.high, self.step)


@dataclass(frozen=True)
class Repeat:
    """`times` independent draws of `item`: a list, or, inside a list, spliced into it."""

    item: Any
    times: Any


def op(name: str, /, **slots: Any) -> dict[str, Any]:
    """A node of the grammar: `{"op": name, **slots}`."""
    return {"op": name, **slots}


def one_of(*options: Any, name: str | None = None) -> Choice:
    """A choice among `options`. With a `name` it is drawn once and shared by every choice of that name.

    The sampler sees increasing numbers as ordered. Raises SpecError without options, with two equal options or with a
    name that is not an identifier.
    """
    if not options:
        raise SpecError("one_of() got no options; give at least one")
    options = tuple(plain(options, as_given))
    for i, option in enumerate(options):
        if any(type(option) is type(other) and option == other for other in options[:i]):
            raise SpecError(f"one_of() got the option {cut(option)} twice; options must differ")
    return Choice(options, _checked_name(name))


def int_range(low: int, high: int, step: int = 1, *, name: str | None = None) -> IntRange:
    """An integer `low, low + step, ..., <= high`. Raises SpecError if a bound is no integer, or the range is empty."""
    low, high, step = plain((low, high, step), as_given)
    for label, value in (("low", low), ("high", high), ("step", step)):
        if type(value) is not int:
            raise SpecError(f"int_range() got {label}={cut(value)}; allowed is an integer")
    if step < 1 or high < low:
        raise SpecError(f"int_range({low}, {high}, {step}) is empty; it needs low <= high and step >= 1")
    if (high - low) // step >= MAX_OPTIONS:
        raise SpecError(f"int_range({low}, {high}, {step}) has more than {MAX_OPTIONS:,} numbers; give a larger step")
    return IntRange(low, low + (high - low) // step * step, step, _checked_name(name))


def repeat(item: Any, times: int | Choice | IntRange) -> Repeat:
    """`times` independent draws of `item`; `times` may itself be a choice among integers. Raises SpecError."""
    times = plain(times, as_given)
    ends = (times.low, times.high) if isinstance(times, IntRange) else (times,)
    for count in times.options if isinstance(times, Choice) else ends:
        if type(count) is not int or not 0 <= count <= MAX_OPTIONS:
            allowed = f"an integer from 0 to {MAX_OPTIONS:,}, or a choice among such"
            raise SpecError(f"repeat() got times={cut(count)}; allowed is {allowed}")
    return Repeat(plain(item, as_given), times)


def _checked_name(name: str | None) -> str | None:
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise SpecError(f"a choice got the name {cut(name)}; allowed is a Python identifier")
    return name


def join(path: str, key: object) -> str:
    """The path of `key` below `path`."""
    return f"{path}.{key}" if path else str(key)


def check_names(space: Any) -> None:
    """Raise SpecError if two different choices have one name, even if no draw contains both."""
    named: dict[str, Choice | IntRange] = {}

    def visit(value: Any, path: str) -> None:
        if isinstance(value, Choice | IntRange) and value.name is not None:
            if repr(named.setdefault(value.name, value)) != repr(value):
                raise SpecError(f"{path}: the choice {value.name!r} has other options here than at its first place")
            path = value.name
        if isinstance(value, Choice):
            for index, option in enumerate(value.options):
                visit(option, f"{path}#{index}")
        elif isinstance(value, Repeat):
            visit(value.times, join(path, "times"))
            visit(value.item, path)
        elif isinstance(value, dict):
            for key, item in value.items():
                visit(item, join(path, key))
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                visit(item, join(path, index))

    visit(space, "")
    # A name is an identifier, without dots, so only a path of the outermost node can equal it.
    for key, value in space.items() if isinstance(space, dict) else [(ROOT, space)]:
        if isinstance(value, Choice | IntRange) and value.name is None and key in named:
            raise SpecError(f"{key}: another choice has the name {key!r}, too; rename it")
