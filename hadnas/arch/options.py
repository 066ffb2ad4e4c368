"""Checks every option of a space by itself: an option that no valid draw can contain is refused before sampling."""

from collections.abc import Iterator
from typing import Any

from hadnas.blocks.registry import find_op
from hadnas.errors import at, unknown
from hadnas.space.choices import Choice, IntRange, Repeat, join

_BESIDE = {"host": ("format",), "stem": ("dim",), "masked": ("dim",), "fusion": ("dim", "params")}
"""Keys that a node of a role may have beside its op's parameters."""


def check_options(space: Any, path: str = "") -> None:
    """Raise UnknownName or SpecError for an op, a parameter or a value that is wrong in every draw.

    A search skips invalid draws, since a rule may hold for some widths only; it would skip a misspelt option silently.
    """
    if isinstance(space, Choice):
        for index, option in enumerate(space.options):
            check_options(option, f"{path}#{index}")
    elif isinstance(space, Repeat):
        check_options(space.item, path)
    elif isinstance(space, list | tuple):
        for index, item in enumerate(space):
            check_options(item, join(path, index))
    elif isinstance(space, dict):
        if "op" in space:
            with at(path or "space"):
                for name in _values(space["op"]):
                    _check_node(name, space)
        for key, value in space.items():
            if key != "op":
                check_options(value, join(path, key))


def _check_node(name: Any, node: dict[str, Any]) -> None:
    op = find_op(name)
    beside = [key for role in op.roles for key in _BESIDE.get(role, ())]
    for key, value in node.items():
        if key == "op" or key in beside:
            continue
        if key not in op.slots:
            raise unknown(f"parameter of {op.name}", key, op.slots)
        if not op.slots[key].roles:
            for scalar in _values(value):
                with at(op.name):
                    op.slots[key].check(scalar)


def _values(value: Any) -> Iterator[Any]:
    """The scalars that `value` may become; none for a list, a node or a repetition, which are checked inside."""
    if isinstance(value, Choice):
        for option in value.options:
            yield from _values(option)
    elif isinstance(value, IntRange):
        yield from range(value.low, value.high + 1, value.step)
    elif not isinstance(value, Repeat | dict | list | tuple):
        yield value
