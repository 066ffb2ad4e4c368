"""One recursive reader from a draw to an architecture and to its tree of constructor calls.

It visits every node once: looks up its op, checks its values, completes them with the defaults, checks its rules for
its width and resolution, and makes the call that builds it. `complete` returns the data; a `hadnas.hosts.host.Plan`
has the calls, too, so the two always agree.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hadnas.arch.node import Arch, unversioned
from hadnas.arch.task import Task
from hadnas.blocks.registry import REQUIRED, Op, Slot, find_op
from hadnas.errors import SpecError, at, cut, unknown
from hadnas.plain import plain

Node = dict[str, Any]

POSITIONAL = ("in_dim", "left_dim", "right_dim", "dim", "classes")
"""Constructor parameters that a parent gives its node by position."""


@dataclass(frozen=True)
class Place:
    """What a parent gives its node: channels in and out, and the resolution of its input.

    The resolution is None without a task; rules are then not checked, since they may depend on it. A fusion has
    `right_dim`, the channels of its second input; `in_dim` and `size` are those of its first.
    """

    in_dim: int
    dim: int
    size: tuple[int, int] | None
    classes: int
    right_dim: int = 0


@dataclass(frozen=True)
class Call:
    """A constructor call; arguments are plain values, calls or lists of calls. `place` is None for the host itself."""

    op: str
    cls: Any  # a class or function that gives a module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: Place | None = field(default=None, compare=False)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Equal for calls that make equal modules; other than a call, it may be a key of a dict."""
        return self.cls, repr(self.args), *((name, _key(value)) for name, value in self.kwargs.items())


def _key(value: Any) -> Any:
    if isinstance(value, Call):
        return value.key
    return tuple(map(_key, value)) if isinstance(value, list) else repr(value)


def complete(draw: Node, task: Task | None = None) -> Arch:
    """The canonical architecture of a draw: every default is written, every value and rule is checked.

    Without a task, checks that need one are left out. Raises SpecError or UnknownName with the path of the node, the
    value found and the allowed values.
    """
    return Arch(read_host(draw, task)[0])


def read_host(draw: Node, task: Task | None) -> tuple[Node, Call]:
    """The completed node of a whole architecture and its call. Raises as `complete`."""
    with at("architecture"):
        node = unversioned(plain(draw))
        op = find_op(node.get("op"), ("host",))
    completed, call = op.host.read(node, task)
    return completed, call


def read(node: Any, roles: tuple[str, ...], place: Place, path: str) -> tuple[Node, Call]:
    """One node below a host: its completed data and its call. Raises SpecError or UnknownName with `path`."""
    with at(path):
        if not isinstance(node, dict):
            raise SpecError(f"found {cut(node)}; allowed is a {' or '.join(roles)} node {{'op': name, ...}}")
        op = find_op(node.get("op"), roles)
        values = checked_values(op, node)
    calls: dict[str, Any] = {}
    for name, slot in op.slots.items():
        if slot.roles:
            values[name], calls[name] = _read_children(values[name], slot, place, f"{path}.{name}")
    unused = op.unused(values) if op.unused is not None else ()
    values |= {name: op.slots[name].default for name in unused if name in op.slots}
    ordered = sorted(op.symmetric, key=lambda name: json.dumps(values[name], sort_keys=True))
    for found in (values, calls):
        found |= {slot: found[name] for slot, name in zip(op.symmetric, ordered, strict=True) if name in found}
    facts = {**values, "in_dim": place.in_dim, "dim": place.dim}
    if place.size is not None:
        height, width = place.size
        with at(path):
            for rule in op.rules:
                if (wrong := rule({**facts, "height": height, "width": width})) is not None:
                    raise SpecError(f"{op.name}: {wrong}")
    given = {"dim": place.dim, "in_dim": place.in_dim, "classes": place.classes, "resolution": place.size}
    given |= {"left_dim": place.in_dim, "right_dim": place.right_dim}
    args = tuple(given[name] for name in op.given if name in POSITIONAL)
    kwargs = {name: calls.get(name, value) for name, value in values.items()}
    if "resolution" in op.given and "resolution" not in unused:
        kwargs["resolution"] = place.size
    completed, call = {"op": op.name, **values}, Call(op.name, op.cls, args, kwargs, place)
    if op.name == "sequence" and len(values["blocks"]) < 2:  # the block itself, or nothing
        return flat(completed, call)[0] if values["blocks"] else read({"op": "identity"}, roles, place, path)
    return completed, call


def checked_values(op: Op, node: Mapping[str, Any]) -> Node:
    """Every slot of `op` with the node's value or the default; children unread. Raises SpecError, UnknownName."""
    for key in node:
        if key != "op" and key not in op.slots:
            raise unknown(f"parameter of {op.name}", key, op.slots)
    values: Node = {}
    for name, slot in op.slots.items():
        value = node.get(name, slot.default)
        if value is REQUIRED:
            raise SpecError(f"{op.name} needs {name!r}, which has no default")
        values[name] = value if slot.roles else slot.check(value)
    return values


def _read_children(value: Any, slot: Slot, place: Place, path: str) -> tuple[Any, Any]:
    if value is None and slot.default is None:
        return None, None
    if not slot.many:
        return read(value, slot.roles, place, path)
    return read_list(value, slot.roles, place, path)


def read_list(value: Any, roles: tuple[str, ...], place: Place, path: str) -> tuple[list[Node], list[Call]]:
    """A list of nodes of equal width, without identities and nested sequences. Raises SpecError, UnknownName."""
    if not isinstance(value, list):
        raise SpecError(f"{path}: found {cut(value)}; allowed is a list of nodes")
    pairs = [read(item, roles, place, f"{path}.{index}") for index, item in enumerate(value)]
    flattened = [one for node, call in pairs for one in flat(node, call)]
    return [node for node, _ in flattened], [call for _, call in flattened]


def flat(node: Node, call: Call) -> list[tuple[Node, Call]]:
    """A node of a list in canonical form: nothing for an identity, its blocks for a sequence, else the node."""
    if node["op"] == "identity":
        return []
    if node["op"] == "sequence":
        return list(zip(node["blocks"], call.kwargs["blocks"], strict=True))
    return [(node, call)]


def resized(node: Node, place: Place, path: str) -> tuple[int, int] | None:
    """The resolution after a stem or down node. Raises SpecError if it is below 1 x 1."""
    resize = find_op(node["op"]).resize
    if place.size is None or resize is None:
        return place.size
    height, width = (resize(size, node) for size in place.size)
    if height < 1 or width < 1:
        raise SpecError(
            f"{path}: {node['op']} reduces a {place.size[0]} x {place.size[1]} map to {height} x {width}; "
            "use fewer or smaller strides"
        )
    return height, width
