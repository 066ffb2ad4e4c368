"""A search space as an indented tree for people: every choice with its options, every part with its assignments."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from hadnas.space.choices import Choice, IntRange, Repeat, join
from hadnas.space.count import size
from hadnas.space.data import as_data

FOLDED = 3
"""A part of at least as many lines is printed once; equal ones name its place."""


def outline(space: Any) -> str:
    """The tree. `[n]` after a part is the number of its assignments; a part that occurs again is `as PLACE`.

    An option has the label that a sampler answers, a part the place by which parameters are named.
    """
    return "\n".join(_lines(space, "", "", {}))


def _lines(value: Any, label: str, place: str, seen: dict[str, str]) -> Iterator[str]:
    if isinstance(value, Repeat):
        times = value.times if isinstance(value.times, int) else _flat(value.times)
        start = label if times == 1 else f"{label}{times} x "
        yield from _lines(value.item, start, join(place, 0), seen)
        return
    key = json.dumps(as_data(value), sort_keys=True)
    if key in seen:
        yield f"{label}as {seen[key]}"
        return
    children = list(_children(value, place, seen))
    if len(children) + 1 >= FOLDED and place:
        seen[key] = place
    yield " ".join(part for part in ((label + _head(value)).strip(), _count(value) if children else "") if part)
    yield from ("  " + line for line in children)


def _head(value: Any) -> str:
    """What the first line has of a value: its op and its settings, or the number of its options."""
    if isinstance(value, Choice) and not _is_flat(value):
        shared = f", shared as {value.name}" if value.name else ""
        return f"one of {len(value.options)}{shared}"
    if isinstance(value, dict):
        settings = [f"{key}={_flat(item)}" for key, item in value.items() if key != "op" and _is_flat(item)]
        return " ".join([*([_flat(value["op"])] if "op" in value else []), *settings])
    return _flat(value) if _is_flat(value) else f"{len(value)} parts"


def _children(value: Any, place: str, seen: dict[str, str]) -> Iterator[str]:
    if _is_flat(value):
        return
    if isinstance(value, Choice):
        for answer, (suffix, option) in value.decision.branches.items():
            within = (value.name or place) + suffix
            if isinstance(option, dict) and "op" in option:  # its label has its op
                rest = {key: item for key, item in option.items() if key != "op"}
                yield from _lines(rest, f"{answer} ", within, seen)
            else:
                yield from _lines(option, "" if _is_flat(option) else f"{answer}: ", within, seen)
    elif isinstance(value, dict):
        for key, item in value.items():
            if _is_flat(item):
                continue
            if isinstance(item, list | tuple):
                yield from _items(item, key, join(place, key), seen)
            else:
                yield from _lines(item, f"{key}: ", join(place, key), seen)
    else:
        yield from _items(value, "", place, seen)


def _items(items: Any, key: str, place: str, seen: dict[str, str]) -> Iterator[str]:
    """The parts of a list; a run of equal ones is one entry with its indices."""
    index = 0
    for _, run in groupby(items, key=lambda item: json.dumps(as_data(item), sort_keys=True)):
        length = len(list(run))
        count = f"{index}" if length == 1 else f"{index}-{index + length - 1}"
        yield from _lines(items[index], f"{join(key, count)}: ", join(place, index), seen)
        index += length


def _count(value: Any) -> str:
    number = size(value)
    return f"[{number:,}]" if number > 1 else ""


def _is_flat(value: Any) -> bool:
    """Whether a value fits into the line of its node: a scalar, scalars, or a choice among such."""
    if isinstance(value, Choice):
        return all(map(_is_flat, value.options))
    if isinstance(value, list | tuple):
        return all(isinstance(item, str | int | float | None) for item in value)
    return not isinstance(value, dict | Repeat)


def _flat(value: Any) -> str:
    if isinstance(value, IntRange):
        steps = "" if value.step == 1 else f":{value.step}"
        text = f"{value.low}..{value.high}{steps}"
    elif isinstance(value, Choice):
        text = "|".join(map(_flat, value.options))
    else:
        return str(value)
    return text if value.name is None else f"{value.name}({text})"
