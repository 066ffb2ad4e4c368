"""A tree of calls as text: one Python expression, runs of equal blocks as loops."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from hadnas.arch.read import Call


class Name(str):
    """An expression in code, without the quotes of a string."""

    __repr__ = str.__str__


def calls(value: Any) -> Iterator[Call]:
    """Every call of a tree, children first."""
    if isinstance(value, list):
        for item in value:
            yield from calls(item)
    elif isinstance(value, Call):
        for item in value.kwargs.values():
            yield from calls(item)
        yield value


def expression(value: Any, arguments: str = "**dd") -> str:
    """A tree of calls as one Python expression; values equal to a constructor's default are left to it.

    `arguments` is passed to every call; runs of equal items, or of equal groups of items, become comprehensions.
    """
    if isinstance(value, list):
        runs = [
            (_loop(group, times), times) for group, times in repeats([expression(item, arguments) for item in value])
        ]
        if len(runs) == 1 and runs[0][1] > 1:
            return f"[{runs[0][0]}]"
        return f"[{', '.join(text if times == 1 else f'*({text})' for text, times in runs)}]"
    if not isinstance(value, Call):
        return repr(value)
    parameters = inspect.signature(value.cls).parameters
    parts = [repr(item) for item in value.args]
    parts += [
        f"{name}={expression(item, arguments)}"
        for name, item in value.kwargs.items()
        if isinstance(item, Call | list)
        or item != parameters[name].default
        or type(item) is not type(parameters[name].default)
    ]
    return f"{value.cls.__name__}({', '.join([*parts, arguments])})"


def repeats(items: Sequence[str]) -> list[tuple[tuple[str, ...], int]]:
    """`items` as groups with their numbers of repetitions: a b a b c is (a, b) twice and (c) once.

    From the left, the group that covers most items, the shortest of these; an item without repetition is a group.
    """
    found: list[tuple[tuple[str, ...], int]] = []
    start = 0
    while start < len(items):
        best = (tuple(items[start : start + 1]), 1)
        for length in range(1, (len(items) - start) // 2 + 1):
            group, times = tuple(items[start : start + length]), 1
            while tuple(items[start + times * length : start + (times + 1) * length]) == group:
                times += 1
            if times > 1 and times * length > len(best[0]) * best[1]:
                best = group, times
        found.append(best)
        start += len(best[0]) * best[1]
    return found


def _loop(group: tuple[str, ...], times: int) -> str:
    """The inside of a comprehension's brackets; for one repetition, the item itself."""
    if times == 1:
        return group[0]
    if len(group) == 1:
        return f"{group[0]} for _ in range({times})"
    return f"block for _ in range({times}) for block in ({', '.join(group)})"
