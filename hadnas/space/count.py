"""The number of assignments of a space, without enumerating them."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hadnas.errors import SpecError
from hadnas.space.choices import Choice, IntRange, Repeat

_Outcome = frozenset[tuple[str, int | None]]
_Ways = Counter[_Outcome]
"""The number of assignments of the unnamed choices for each outcome of the named ones, so that these count once.

An outcome holds the option's index of a named choice that sets the `times` of a repetition. For any other named choice
the index is None, and `size` multiplies by the number of its options at the end.
"""

_ONE: _Ways = Counter({frozenset(): 1})


def size(space: Any) -> int:
    """The number of assignments of `space`, before any rule: exact.

    Raises SpecError if an option of a named choice contains another named choice.
    """
    options: dict[str, int] = {}  # of each named choice
    ways = _count(space, frozenset(_repeating(space)), options)
    return sum(n * math.prod(options[name] for name, i in outcome if i is None) for outcome, n in ways.items())


def _count(value: Any, repeating: frozenset[str], options: dict[str, int]) -> _Ways:
    if isinstance(value, Choice | IntRange):
        inner: _Ways = Counter()
        for _, option in value.decision.branches.values():
            inner.update(_count(option, repeating, options))
        if value.name is None:
            return inner
        if set(inner) != {frozenset()}:
            raise SpecError(f"the named choice {value.name!r} contains another named choice; only one level is allowed")
        options[value.name] = inner[frozenset()]
        indices = range(inner[frozenset()]) if value.name in repeating else (None,)
        return Counter({frozenset({(value.name, i)}): 1 for i in indices})
    if isinstance(value, Repeat):
        item = _count(value.item, repeating, options)
        if isinstance(value.times, int):
            times = [(value.times, _ONE)]
        else:
            name = value.times.name
            outcomes = [option for _, option in value.times.decision.branches.values()]
            times = [
                (n, Counter({frozenset({(name, i)}): 1}) if name is not None else _ONE) for i, n in enumerate(outcomes)
            ]
        total: _Ways = Counter()
        for n, ways in times:
            for _ in range(n):
                ways = _both(ways, item)
            total.update(ways)
        return total
    if isinstance(value, dict | list | tuple):
        ways = _ONE
        for part in value.values() if isinstance(value, dict) else value:
            ways = _both(ways, _count(part, repeating, options))
        return ways
    return _ONE


def _both(left: _Ways, right: _Ways) -> _Ways:
    out: _Ways = Counter()
    for a, n in left.items():
        for b, m in right.items():
            union = a | b
            if len({name for name, _ in union}) == len(union):  # one named choice has one outcome
                out[union] += n * m
    return out


def _repeating(value: Any) -> Iterator[str]:
    """The names of the choices that set the `times` of a repetition."""
    if isinstance(value, Repeat):
        if not isinstance(value.times, int) and value.times.name is not None:
            yield value.times.name
        yield from _repeating(value.item)
    elif isinstance(value, Choice):
        yield from _repeating(value.options)
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _repeating(part)
