"""The masked pyramid as a host: how it is read."""

from typing import Any

from hadnas.arch.read import Call, Node, Place, checked_values, read
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op
from hadnas.errors import SpecError, at
from hadnas.hosts.masked.masked_stage import MaskedStage, OnValid
from hadnas.hosts.named_inputs import NamedInputsHost
from hadnas.hosts.staged_host import IMAGENET_CLASSES, StagedHost, reduction_of
from hadnas.inputs import InputShape, Mask, inputs_text


class MaskedPyramidHost(NamedInputsHost, StagedHost):
    """Stem, stages of one width each, norm and head, of an image and its mask."""

    first = between = "masked"
    stage = MaskedStage
    inside = ("masked", "residual", "block")

    def read(self, node: Node, task: Task | None) -> tuple[Node, Call]:
        """See `Host.read`. The head reads one position, the mean."""
        op = find_op(node["op"])
        with at("architecture"):
            values = checked_values(op, node)
            shape = None if task is None else _image(task)
        classes = IMAGENET_CLASSES if task is None else task.outputs
        body = self.read_body(values, shape, classes)
        mean = Place(body.place.dim, body.place.dim, (1, 1), classes)
        head_node, head_call = read(values["head"], ("head",), mean, "head")
        completed = {"op": op.name, **body.node, "norm": values["norm"], "head": head_node}
        return completed, Call(op.name, op.cls, (), {**body.calls, "norm": values["norm"], "head": head_call})

    def read_stage(self, stage: Any, before: Place, path: str) -> tuple[Node, dict[str, Any], Place]:
        """See `StagedHost.read_stage`. Blocks of a map alone are called at its valid positions."""
        node, calls, place = super().read_stage(stage, before, path)
        for index, block in enumerate(node["blocks"]):
            if "masked" in find_op(block["op"]).roles and reduction_of(block) != 1:
                found = f"{path}.blocks.{index}: {block['op']} makes the map {reduction_of(block)} times smaller"
                raise SpecError(f"{found}; allowed is a block that preserves it, and this one as `down`")
        return node, {**calls, "blocks": [_carrying(block) for block in calls["blocks"]]}, place


def _image(task: Task) -> InputShape:
    """The shape of the image. Raises SpecError unless the task is of an image and its mask."""
    if len(task.inputs) != 2 or not isinstance(task.shapes[1], Mask) or task.shapes[0][1:] != task.shapes[1][1:]:
        raise SpecError(
            f"a masked_pyramid reads an image and its mask, in this order, of one height and width; the task has "
            f"{inputs_text(task.inputs)}; in an .npz file a mask is an array of bool, and `inputs` names both"
        )
    return task.shapes[0]


def _carrying(call: Call) -> Call:
    """The call of a block that gives map and mask."""
    return call if "masked" in find_op(call.op).roles else Call("on_valid", OnValid, (), {"block": call})
