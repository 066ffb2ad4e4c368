"""Every option of a space, looked at by itself: what no valid draw could hold is refused before anything is drawn."""

from collections.abc import Iterator
from typing import Any

from hadnas.blocks.registry import find_op
from hadnas.errors import at, unknown
from hadnas.space.choices import Choice, IntRange, Repeat, join

_BESIDE = {"host": ("format",), "stem": ("dim",)}
"""What a node of a role may say beside its op's own parameters."""


def check_options(space: Any, path: str = "") -> None:
    """Raise UnknownName or SpecError for an op, a parameter or a value that is wrong wherever it is drawn.

    A search passes over invalid draws, as rules may hold for some widths and not for others; a misspelt option would
    be passed over with them.
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
            for plain in _values(value):
                with at(op.name):
                    op.slots[key].check(plain)


def _values(value: Any) -> Iterator[Any]:
    """The plain values that a place may take; none where one is made of several places."""
    if isinstance(value, Choice):
        for option in value.options:
            yield from _values(option)
    elif isinstance(value, IntRange):
        yield from range(value.low, value.high + 1, value.step)
    elif not isinstance(value, Repeat | dict | list | tuple):
        yield value
