"""The draws of a space that give an architecture, found from its node: what `resolve` does, backwards."""

from collections.abc import Iterator, Sequence
from typing import Any

from hadnas.space.choices import ROOT, Choice, IntRange, Repeat, join
from hadnas.space.decision import Scalar
from hadnas.space.draw import Params

_ANY: Any = object()
"""Matches every value: a completed architecture lacks what has no effect on it."""


def matches(space: Any, node: Any) -> Iterator[Params]:
    """The parameters of draws of `space` whose values are those of `node`, as far as both have them.

    `node` is completed: it has every default. A draw may still differ from it where completing changes a draw, so
    compare their fingerprints.
    """
    return _matched(space, node, "", {})


def _matched(value: Any, node: Any, path: str, params: Params) -> Iterator[Params]:
    if isinstance(value, Choice | IntRange):
        path = value.name or path or ROOT
        for answer, (suffix, option) in value.decision.branches.items():
            if path not in params or _same(params[path], answer):
                yield from _matched(option, node, path + suffix, {**params, path: answer})
    elif isinstance(value, Repeat):
        yield from _parts([(value, path)], node, params)
    elif isinstance(value, dict):
        if node is _ANY or (isinstance(node, dict) and ("op" in value) == ("op" in node)):
            inner = [
                (item, join(path, key), _ANY if node is _ANY else node.get(key, _ANY)) for key, item in value.items()
            ]
            yield from _all(inner, params)
    elif isinstance(value, list | tuple):
        yield from _parts([(item, join(path, index)) for index, item in enumerate(value)], node, params)
    elif node is _ANY or (value == node and isinstance(value, bool) == isinstance(node, bool)):
        yield params


def _all(pairs: Sequence[tuple[Any, str, Any]], params: Params) -> Iterator[Params]:
    """Match each value at its path with its node, one after another."""
    if not pairs:
        yield params
        return
    (value, path, node), *rest = pairs
    for found in _matched(value, node, path, params):
        yield from _all(rest, found)


def _parts(items: Sequence[tuple[Any, str]], node: Any, params: Params) -> Iterator[Params]:
    """Match a list, in which a repetition stands for any of its numbers of items, with a list of the same length."""
    if node is not _ANY and not isinstance(node, list | tuple):
        return
    if not items:
        if node is _ANY or not node:
            yield params
        return
    (value, path), *rest = items
    if not isinstance(value, Repeat):
        if node is _ANY or node:
            for found in _matched(value, node if node is _ANY else node[0], path, params):
                yield from _parts(rest, node if node is _ANY else node[1:], found)
        return
    for count, chosen in _times(value, path, params):
        if node is _ANY or count <= len(node):
            here = [(value.item, join(path, index), node if node is _ANY else node[index]) for index in range(count)]
            for found in _all(here, chosen):
                yield from _parts(rest, node if node is _ANY else node[count:], found)


def _times(value: Repeat, path: str, params: Params) -> Iterator[tuple[int, Params]]:
    """Each number of items of a repetition, with the parameters that set it."""
    times = value.times
    if isinstance(times, int):
        yield times, params
        return
    for _, option in times.decision.branches.values():
        for found in _matched(times, option, join(path, "times"), params):
            yield option, found


def _same(one: Scalar, other: Scalar) -> bool:
    """Equal, and not 1 and True."""
    return type(one) is type(other) and one == other
