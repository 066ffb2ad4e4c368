"""How width and resolution run through a pyramid, from the task to the head."""

from typing import Any

from hadnas.arch.read import Call, Node, Place, checked_values, read, read_list, resized
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op
from hadnas.errors import SpecError, at, cut
from hadnas.hosts.stage import Stage
from hadnas.limits import WIDTH

IMAGENET_CLASSES = 1000

LARGE = 2**20
"""The side of a map at whose border nothing is rounded that matters."""


def wire_pyramid(cls: type, node: Node, task: Task | None) -> tuple[Node, Call]:
    """The completed node and the call of a pyramid. Raises SpecError or UnknownName with the path."""
    with at("architecture"):
        values = checked_values(find_op("pyramid", ("host",)), node)
        if not isinstance(values["stages"], list) or not values["stages"]:
            raise SpecError(f"stages = {cut(values['stages'])} is not allowed; allowed is a list of at least one stage")
        if not isinstance(values["stem"], dict):
            raise SpecError(f"stem = {cut(values['stem'])} is not allowed; allowed is a stem node with its dim")
    channels, size, classes = 3, None, IMAGENET_CLASSES
    if task is not None:
        channels, *image = task.shape
        size, classes = (image[0], image[1]), task.outputs

    # The stem owns its width, as no stage stands above it.
    stem = {key: value for key, value in values["stem"].items() if key != "dim"}
    dim = _width(values["stem"].get("dim"), "stem")
    place = Place(channels, dim, size, classes)
    stem_node, stem_call = read(stem, ("stem",), place, "stem")
    stem_node = {"op": stem_node["op"], "dim": dim, **stem_node}
    size, reduction = resized(stem_node, place, "stem"), _reduction(stem_node)

    stage_nodes: list[Node] = []
    stage_calls: list[Call] = []
    for index, stage in enumerate(values["stages"]):
        path = f"stages.{index}"
        if not isinstance(stage, dict) or set(stage) - {"dim", "down", "blocks"}:
            raise SpecError(
                f"{path}: found {cut(stage)}; allowed is {{'dim': int, 'down': node or None, 'blocks': [...]}}"
            )
        place = Place(dim, _width(stage.get("dim"), path), size, classes)
        down_node, down_call = None, None
        if stage.get("down") is not None:
            down_node, down_call = read(stage["down"], ("down",), place, f"{path}.down")
            size, reduction = resized(down_node, place, f"{path}.down"), reduction * _reduction(down_node)
        elif place.dim != dim:
            raise SpecError(f"{path}: dim = {place.dim} but {dim} come in, and no down node changes the width")
        dim = place.dim
        place = Place(dim, dim, size, classes)
        block_nodes, block_calls = read_list(stage.get("blocks"), ("residual", "block"), place, f"{path}.blocks")
        stage_nodes.append({"dim": dim, "down": down_node, "blocks": block_nodes})
        arguments = {"dim": dim, "reduction": reduction, "down": down_call, "blocks": block_calls}
        stage_calls.append(Call("stage", Stage, (), arguments))

    head_node, head_call = read(values["head"], ("head",), Place(dim, dim, size, classes), "head")
    completed = {"op": "pyramid", "stem": stem_node, "stages": stage_nodes, "norm": values["norm"], "head": head_node}
    arguments = {"in_chans": channels, "num_classes": classes, "stem": stem_call, "stages": stage_calls}
    return completed, Call("pyramid", cls, (), {**arguments, "norm": values["norm"], "head": head_call})


def _width(value: Any, path: str) -> int:
    if type(value) is not int or not 1 <= value <= WIDTH:
        raise SpecError(f"{path}: dim = {cut(value)} is not allowed; allowed is an integer from 1 to {WIDTH:,}")
    return value


def _reduction(node: Node) -> int:
    """How many times smaller a map becomes."""
    resize = find_op(node["op"]).resize
    return round(LARGE / resize(LARGE, node)) if resize is not None else 1
