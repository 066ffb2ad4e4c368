"""How many assignments a space has, without enumerating them."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hadnas.errors import SpecError
from hadnas.space.choices import Choice, IntRange, Repeat
from hadnas.space.draw import decision

_Fall = frozenset[tuple[str, int | None]]
_Ways = Counter[_Fall]
"""Assignments of the unnamed choices, apart for each way that the named ones may fall, so that these count once.

How a named choice falls, as the number of its option, matters where it says how often something is repeated. Anywhere
else it is None, and `size` multiplies by its options in the end.
"""

_ONE: _Ways = Counter({frozenset(): 1})


def size(space: Any) -> int:
    """The number of assignments of `space`, before any rule: exact.

    Raises SpecError if a named choice stands inside an option of another named choice.
    """
    options: dict[str, int] = {}  # of each named choice
    ways = _count(space, frozenset(_repeating(space)), options)
    return sum(n * math.prod(options[name] for name, i in fall if i is None) for fall, n in ways.items())


def _count(value: Any, repeating: frozenset[str], options: dict[str, int]) -> _Ways:
    if isinstance(value, Choice | IntRange):
        inner: _Ways = Counter()
        for _, option in decision(value).branches.values():
            inner.update(_count(option, repeating, options))
        if value.name is None:
            return inner
        if set(inner) != {frozenset()}:
            raise SpecError(f"the named choice {value.name!r} holds another named choice; only one level is allowed")
        options[value.name] = inner[frozenset()]
        falls = range(inner[frozenset()]) if value.name in repeating else (None,)
        return Counter({frozenset({(value.name, i)}): 1 for i in falls})
    if isinstance(value, Repeat):
        item = _count(value.item, repeating, options)
        if isinstance(value.times, int):
            times = [(value.times, _ONE)]
        else:
            name = value.times.name
            outcomes = [option for _, option in decision(value.times).branches.values()]
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
            if len({name for name, _ in union}) == len(union):
                out[union] += n * m
    return out


def _repeating(value: Any) -> Iterator[str]:
    """The named choices that say how often something is repeated."""
    if isinstance(value, Repeat):
        if not isinstance(value.times, int) and value.times.name is not None:
            yield value.times.name
        yield from _repeating(value.item)
    elif isinstance(value, Choice):
        yield from _repeating(value.options)
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _repeating(part)
