"""The pair as a host: how it is read, drawn and written as code."""

from typing import Any

from hadnas.arch.diagram import Box, boxes
from hadnas.arch.read import Call, Node, Place, checked_values, read
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op
from hadnas.errors import SpecError, at, cut
from hadnas.hosts.named_inputs import NamedInputsHost
from hadnas.hosts.pair.budget import hidden_of
from hadnas.hosts.staged_host import IMAGENET_CLASSES, width
from hadnas.inputs import InputShape, inputs_text

ENCODERS = ("left", "right")
"""The names of the encoders, in the order of the task's inputs."""

BESIDE_FUSION = ("dim", "params")
"""Keys of a fusion node beside its op's own: the width of its output, and the parameters that it is to have."""


class PairHost(NamedInputsHost):
    """Two encoders, a fusion and a head."""

    def read(self, node: Node, task: Task | None) -> tuple[Node, Call]:
        """See `Host.read`. `params` of the fusion becomes its `hidden`."""
        op = find_op(node["op"])
        with at("architecture"):
            values = checked_values(op, node)
            if task is not None and len(task.inputs) != 2:
                found = inputs_text(task.inputs)
                raise SpecError(f"a pair reads two inputs; the task has {found}; of an .npz file `inputs` names them")
            if not isinstance(values["fusion"], dict):
                raise SpecError(
                    f"fusion = {cut(values['fusion'])} is not allowed; allowed is a fusion node with its dim"
                )
        shapes: tuple[InputShape | None, ...] = (None, None) if task is None else task.shapes
        classes = IMAGENET_CLASSES if task is None else task.outputs
        fusion = {key: value for key, value in values["fusion"].items() if key not in BESIDE_FUSION}
        with at("fusion"):
            kind = find_op(fusion.get("op"), ("fusion",))
        pool = kind.reads == "vector"

        left_node, left_call, left = _encoder(values["left"], shapes[0], pool, "left")
        right_node, right_call, right = None, None, left
        if values["right"] is not None:
            right_node, right_call, right = _encoder(values["right"], shapes[1], pool, "right")
        elif task is not None and shapes[0] != shapes[1]:
            found = inputs_text(task.inputs)
            raise SpecError(f"right: None has the left encoder read both inputs, of one shape; found {found}")

        size = (1, 1) if pool else left.size
        place = Place(left.dim, width(values["fusion"].get("dim"), "fusion"), size, classes, right.dim)
        if "params" in values["fusion"]:
            with at("fusion"):
                fusion["hidden"] = hidden_of(kind, fusion, place, values["fusion"]["params"])
        fusion_node, fusion_call = read(fusion, ("fusion",), place, "fusion")
        fusion_node = {"op": fusion_node["op"], "dim": place.dim, **fusion_node}
        head_node, head_call = read(values["head"], ("head",), Place(place.dim, place.dim, size, classes), "head")
        completed = {"op": op.name, "left": left_node, "right": right_node, "fusion": fusion_node, "head": head_node}
        arguments = {"left": left_call, "right": right_call, "fusion": fusion_call, "head": head_call}
        return completed, Call(op.name, op.cls, (), arguments)

    def stages(self, node: Node) -> list[Node]:
        """The stages of the left encoder, then those of the right one."""
        found: list[Node] = []
        for side in ENCODERS:
            found += (node[side] or {}).get("stages", [])
        return found

    def columns(self, node: Node) -> list[tuple[str, list[Box]]]:
        """The columns of each encoder, then fusion and head."""
        found = []
        for side in ENCODERS:
            if node[side] is not None:
                found += [
                    (f"{side} {title}", items) for title, items in find_op(node[side]["op"]).host.columns(node[side])
                ]
        return [*found, ("fusion", boxes([node["fusion"]])), ("head", boxes([node["head"]]))]


def _encoder(node: Any, shape: InputShape | None, pool: bool, side: str) -> tuple[Node, Call, Place]:
    """An encoder's node and call, and the place of what reads its map."""
    with at(side):
        if not isinstance(node, dict):
            raise SpecError(f"found {cut(node)}; allowed is an encoder, such as a pyramid without its head")
        op = find_op(node.get("op"), ("host",))
        found: tuple[Node, Call, Place] = op.host.encoder(node, shape, pool)
        return found
