"""Controls of an architecture: the same network without its products, at equal cost."""

from typing import Any

from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op
from hadnas.errors import SpecError


def additive_twin(arch: Arch, task: Task) -> Arch | None:
    """`arch` with every product replaced by a sum where its op has a twin: equal parameters and MACs.

    None where no op of the architecture multiplies or none that does has a twin. Products inside ops without one
    (gates of one value per channel) stay, and are counted in the twin's costs.
    """

    def summed(node: dict[str, Any]) -> dict[str, Any]:
        op = find_op(node["op"])
        return {**node, op.twin[0]: op.twin[2]} if op.twin is not None and op.multiplies(node) else node

    return _changed(arch, task, summed)


def one_branch(arch: Arch, task: Task) -> Arch | None:
    """`arch` with every star that multiplies reduced to one wider branch of equal MACs; None where it holds none.

    Other products stay. None, too, where a star's rules refuse the control.
    """

    def reduced(node: dict[str, Any]) -> dict[str, Any]:
        return {**node, "interact": "one"} if node["op"] == "star" and node["interact"] == "mul" else node

    return _changed(arch, task, reduced)


def _changed(arch: Arch, task: Task, change: Any) -> Arch | None:
    """Every node changed, parents before children; None where that leaves the architecture as it is."""

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
