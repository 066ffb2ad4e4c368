"""Controls of an architecture: the same network without its products, at equal cost."""

from typing import Any

from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op
from hadnas.errors import SpecError


def additive_twin(arch: Arch, task: Task) -> Arch | None:
    """`arch` with a sum in place of the product of every op that has a twin: equal parameters and MACs.

    None if no op of the architecture multiplies and has a twin. Products inside ops without a twin (gates of one value
    per channel) remain, and are counted in the twin's costs.
    """

    def summed(node: dict[str, Any]) -> dict[str, Any]:
        op = find_op(node["op"])
        return {**node, op.twin[0]: op.twin[2]} if op.twin is not None and op.multiplies(node) else node

    return _changed(arch, task, summed)


def one_branch(arch: Arch, task: Task) -> Arch | None:
    """`arch` with every multiplying star reduced to one wider branch of equal MACs. Other products remain.

    None if it has no such star, or if a star's rules refuse the control.
    """

    def reduced(node: dict[str, Any]) -> dict[str, Any]:
        return {**node, "interact": "one"} if node["op"] == "star" and node["interact"] == "mul" else node

    return _changed(arch, task, reduced)


def _changed(arch: Arch, task: Task, change: Any) -> Arch | None:
    """`arch` with `change` applied to every node, parents first; None if the result is equal or invalid."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            value = change(value) if "op" in value else value
            return {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    try:
        found = complete(walk(arch.node), task)
    except SpecError:
        return None
    return None if found == complete(arch.node, task) else found
