"""The pyramid as a host: how width and resolution run through it, its configuration for timm, its diagram."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hadnas.arch.diagram import Box, boxes
from hadnas.arch.families import has_role
from hadnas.arch.node import nodes
from hadnas.arch.read import Call, Node, Place, checked_values, read, read_list, resized
from hadnas.arch.task import Task
from hadnas.blocks.layers import normalisation
from hadnas.blocks.registry import FAMILIES, find_op
from hadnas.errors import SpecError, at, cut
from hadnas.hosts.expression import Name
from hadnas.hosts.host import Host, Moments, Plan
from hadnas.hosts.stage import Stage
from hadnas.limits import WIDTH

IMAGENET_CLASSES = 1000

LARGE = 2**20
"""The side of a map at whose border nothing is rounded that matters."""


class PyramidHost(Host):
    """Stem, stages of one width each, norm and head."""

    def read(self, node: Node, task: Task | None) -> tuple[Node, Call]:
        """See `Host.read`."""
        op = find_op(node["op"])
        with at("architecture"):
            values = checked_values(op, node)
            if not isinstance(values["stages"], list) or not values["stages"]:
                raise SpecError(
                    f"stages = {cut(values['stages'])} is not allowed; allowed is a list of at least one stage"
                )
            if not isinstance(values["stem"], dict):
                raise SpecError(f"stem = {cut(values['stem'])} is not allowed; allowed is a stem node with its dim")
        channels, size, classes = 3, None, IMAGENET_CLASSES
        if task is not None:
            channels, *image = task.shape
            size, classes = (image[0], image[1]), task.outputs

        # The stem has its own width, as it has no stage around it.
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
                raise SpecError(f"{path}: dim = {place.dim} without a down node; allowed is {dim}, the width before it")
            dim = place.dim
            place = Place(dim, dim, size, classes)
            block_nodes, block_calls = read_list(stage.get("blocks"), ("residual", "block"), place, f"{path}.blocks")
            stage_nodes.append({"dim": dim, "down": down_node, "blocks": block_nodes})
            arguments = {"dim": dim, "reduction": reduction, "down": down_call, "blocks": block_calls}
            stage_calls.append(Call("stage", Stage, (), arguments))

        head_node, head_call = read(values["head"], ("head",), Place(dim, dim, size, classes), "head")
        completed = {"op": op.name, "stem": stem_node, "stages": stage_nodes, "norm": values["norm"], "head": head_node}
        arguments = {"in_chans": channels, "num_classes": classes, "stem": stem_call, "stages": stage_calls}
        return completed, Call(op.name, op.cls, (), {**arguments, "norm": values["norm"], "head": head_call})

    def stages(self, node: Node) -> list[Node]:
        """The stages in order, each with `dim`, `down` (or None) and `blocks`."""
        found: list[Node] = node["stages"]
        return found

    def parts(self, plan: Plan) -> list[Call]:
        """Stem, every down and block of every stage, norm and head."""
        whole = plan.call.kwargs
        stages = [stage.kwargs for stage in whole["stages"]]
        inside = [part for stage in stages for part in (stage["down"], *stage["blocks"]) if part is not None]
        norm = Call("norm", normalisation, (whole["norm"], stages[-1]["dim"]), {})
        return [whole["stem"], *inside, norm, whole["head"]]

    def layers(self, node: Node) -> dict[str, int]:
        """Without blocks it has convolutions alone: the stem and the steps between stages."""
        convolutions = sum(has_role(part, "stem") or has_role(part, "down") for part in nodes(node))
        return dict.fromkeys(FAMILIES, 0) | {"convolution": convolutions}

    def columns(self, node: Node) -> list[tuple[str, list[Box]]]:
        """The stem, a column per stage, norm and head."""
        stages = []
        for index, stage in enumerate(node["stages"]):
            found = [*boxes([stage["down"]] if stage["down"] else []), *boxes(stage["blocks"])]
            stages.append((f"stage {index}: {stage['dim']} channels", found or [Box("nothing")]))
        norm = [Box(node["norm"], "norm")] if node["norm"] else []
        return [("stem", boxes([node["stem"]])), *stages, ("head", [*norm, *boxes([node["head"]])])]

    def config(self, plan: Plan, moments: Moments | None = None, class_names: Sequence[str] = ()) -> dict[str, Any]:
        """See `Host.config`; with the resolution before the head, and the names of first and last layer."""
        node, task = plan.arch.node, plan.task
        channels, *image = task.shape
        size: tuple[int, int] | None = (image[0], image[1])
        for part in (node["stem"], *(stage["down"] for stage in node["stages"] if stage["down"])):
            size = resized(part, Place(channels, channels, size, task.outputs), part["op"])
        own = {"pool_size": size, "first_conv": "stem.conv", "classifier": "head.fc"}
        return super().config(plan, moments, class_names) | own

    def source(self, plan: Plan, moments: Moments | None = None, class_names: Sequence[str] = ()) -> str:
        """See `Host.source`; the stem is written for `in_chans` channels, whatever their number."""
        stem = plan.call.kwargs["stem"]
        names = [name for name in find_op(stem.op).given if name in ("in_dim", "dim")]
        given = zip(names, stem.args, strict=True)
        stem = replace(stem, args=tuple(Name("in_chans") if name == "in_dim" else value for name, value in given))
        call = replace(plan.call, kwargs={**plan.call.kwargs, "stem": stem})
        return super().source(replace(plan, call=call), moments, class_names)


def _width(value: Any, path: str) -> int:
    if type(value) is not int or not 1 <= value <= WIDTH:
        raise SpecError(f"{path}: dim = {cut(value)} is not allowed; allowed is an integer from 1 to {WIDTH:,}")
    return value


def _reduction(node: Node) -> int:
    """How many times smaller a map becomes."""
    resize = find_op(node["op"]).resize
    return round(LARGE / resize(LARGE, node)) if resize is not None else 1
