"""Networks of stages as hosts: how width and resolution run through them, their configuration for timm."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from hadnas.arch.diagram import Box, boxes
from hadnas.arch.families import has_role
from hadnas.arch.node import nodes
from hadnas.arch.read import Call, Node, Place, checked_values, read, read_list, resized
from hadnas.arch.task import Task
from hadnas.blocks.registry import FAMILIES, Reads, find_op, ops
from hadnas.errors import SpecError, at, cut
from hadnas.hosts.expression import Name
from hadnas.hosts.host import Host, Plan
from hadnas.inputs import AllMoments, InputShape, Tokens, shape_text
from hadnas.limits import WIDTH

IMAGENET_CLASSES = 1000

LARGE = 2**20
"""The side of a map at whose border nothing is rounded that matters."""


@dataclass(frozen=True)
class Body:
    """Stem and stages: their node, their calls, the place of what reads their map, the channels of the input."""

    node: Node
    calls: dict[str, Any]
    place: Place
    channels: int


class StagedHost(Host):
    """Stem, stages of one width each, norm and head.

    first   the role of the stem
    stage   the class of a stage, with the arguments dim, reduction, those of `downs`, and blocks
    between the role of down-samplings
    downs   its down-samplings; where a node leaves out one of them, it is as the first
    inside  the roles of its blocks
    """

    first = "stem"
    stage: type[nn.Module]
    between = "down"
    downs: tuple[str, ...] = ("down",)
    inside: tuple[str, ...] = ("residual", "block")

    def read(self, node: Node, task: Task | None) -> tuple[Node, Call]:
        """See `Host.read`."""
        op = find_op(node["op"])
        with at("architecture"):
            values = checked_values(op, node)
        shape, classes = (None, IMAGENET_CLASSES) if task is None else (task.shape, task.outputs)
        read_in = self.read_body(values, shape, classes)
        place = read_in.place
        head_node, head_call = read(values["head"], ("head",), place, "head")
        completed = {"op": op.name, **read_in.node, "norm": values["norm"], "head": head_node}
        arguments = {"in_chans": read_in.channels, "num_classes": classes, **read_in.calls}
        return completed, Call(op.name, op.cls, (), {**arguments, "norm": values["norm"], "head": head_call})

    def read_body(self, values: Node, shape: InputShape | None, classes: int) -> Body:
        """Stem and stages for an input of this shape, or of any. Raises SpecError or UnknownName."""
        with at("architecture"):
            if not isinstance(values["stages"], list) or not values["stages"]:
                found = cut(values["stages"])
                raise SpecError(f"stages = {found} is not allowed; allowed is a list of at least one stage")
            if not isinstance(values["stem"], dict):
                raise SpecError(f"stem = {cut(values['stem'])} is not allowed; allowed is a stem node with its dim")
        kind, channels, size = _entry(shape)

        # The stem has its own width, as it has no stage around it.
        stem = {key: value for key, value in values["stem"].items() if key != "dim"}
        _check_stem(stem.get("op"), self.first, kind, shape)
        dim = width(values["stem"].get("dim"), "stem")
        place = Place(channels, dim, size, classes)
        stem_node, stem_call = read(stem, (self.first,), place, "stem")
        stem_node = {"op": stem_node["op"], "dim": dim, **stem_node}
        place = Place(dim, dim, resized(stem_node, place, "stem"), classes)
        reduction = 1 if kind in ("vector", "tokens") else reduction_of(stem_node)

        nodes: list[Node] = []
        calls: list[Call] = []
        for index, stage in enumerate(values["stages"]):
            node, arguments, place = self.read_stage(stage, place, f"stages.{index}")
            if node["down"] is not None:
                reduction *= reduction_of(node["down"])
            nodes.append(node)
            calls.append(Call("stage", self.stage, (), {"dim": place.dim, "reduction": reduction, **arguments}))
        return Body({"stem": stem_node, "stages": nodes}, {"stem": stem_call, "stages": calls}, place, channels)

    def read_stage(self, stage: Any, before: Place, path: str) -> tuple[Node, dict[str, Any], Place]:
        """A stage's node, the arguments of its call, and the place of what reads its map. Raises as `read_body`.

        before: the place of what reads the map of the stage before it, or the stem's
        """
        if not isinstance(stage, dict) or set(stage) - {"dim", *self.downs, "blocks"}:
            downs = "".join(f"{name!r}: node or None, " for name in self.downs)
            raise SpecError(f"{path}: found {cut(stage)}; allowed is {{'dim': int, {downs}'blocks': [...]}}")
        place = replace(before, dim=width(stage.get("dim"), path))
        nodes: Node = dict.fromkeys(self.downs)
        calls: dict[str, Any] = dict.fromkeys(self.downs)
        size = place.size
        if stage.get("down") is None:
            if place.dim != before.dim:
                raise SpecError(
                    f"{path}: dim = {place.dim} without a down node; allowed is {before.dim}, the width before it"
                )
            if other := [name for name in self.downs if stage.get(name) is not None]:
                raise SpecError(f"{path}.{other[0]}: found a node without a down node; allowed is None")
        else:
            for name in self.downs:
                nodes[name], calls[name] = read(
                    stage.get(name, stage["down"]), (self.between,), place, f"{path}.{name}"
                )
            sizes = {name: resized(nodes[name], place, f"{path}.{name}") for name in self.downs}
            size = sizes["down"]
            for name, other_size in sizes.items():
                if other_size != size:
                    raise SpecError(f"{path}.{name}: its map has the size {other_size}; allowed is {size}, as of down")
        place = Place(place.dim, place.dim, size, place.classes)
        nodes["blocks"], calls["blocks"] = read_list(stage.get("blocks"), self.inside, place, f"{path}.blocks")
        return {"dim": place.dim, **nodes}, calls, place

    def stages(self, node: Node) -> list[Node]:
        """The stages in order, each with `dim`, `down` (or None) and `blocks`."""
        found: list[Node] = node["stages"]
        return found

    def layers(self, node: Node) -> dict[str, int]:
        """Without blocks it has convolutions alone: the stem and the steps between stages."""
        convolutions = sum(has_role(part, "stem") or has_role(part, "down") for part in nodes(node))
        return dict.fromkeys(FAMILIES, 0) | {"convolution": convolutions}

    def column(self, stage: Node) -> list[Box]:
        """The boxes of a stage, from top to bottom."""
        return boxes([*self.shrinking(stage), *stage["blocks"]])

    def shrinking(self, stage: Node) -> list[Node]:
        """The nodes of its down-samplings."""
        return [stage[name] for name in self.downs if stage[name]]

    def columns(self, node: Node) -> list[tuple[str, list[Box]]]:
        """The stem, a column per stage, norm and head."""
        stages = [
            (f"stage {index}: {stage['dim']} channels", self.column(stage) or [Box("nothing")])
            for index, stage in enumerate(node["stages"])
        ]
        norm = [Box(node["norm"], "norm")] if node["norm"] else []
        last = [("head", [*norm, *boxes([node["head"]])])] if "head" in node else [("norm", norm)] if norm else []
        return [("stem", boxes([node["stem"]])), *stages, *last]

    def config(self, plan: Plan, moments: AllMoments | None = None, class_names: Sequence[str] = ()) -> dict[str, Any]:
        """See `Host.config`; with the resolution before the head, and the names of first and last layer."""
        node, task = plan.arch.node, plan.task
        channels, *image = task.shape
        size: tuple[int, int] | None = (image[0], image[1])
        for part in (node["stem"], *(stage["down"] for stage in node["stages"] if stage["down"])):
            size = resized(part, Place(channels, channels, size, task.outputs), part["op"])
        own = {"pool_size": size, "first_conv": "stem.conv", "classifier": "head.fc"}
        return super().config(plan, moments, class_names) | own

    def source(self, plan: Plan, moments: AllMoments | None = None, class_names: Sequence[str] = ()) -> str:
        """See `Host.source`; the stem is written for `in_chans` channels, whatever their number."""
        stem = plan.call.kwargs["stem"]
        names = [name for name in find_op(stem.op).given if name in ("in_dim", "dim")]
        given = zip(names, stem.args, strict=True)
        stem = replace(stem, args=tuple(Name("in_chans") if name == "in_dim" else value for name, value in given))
        call = replace(plan.call, kwargs={**plan.call.kwargs, "stem": stem})
        return super().source(replace(plan, call=call), moments, class_names)


def _entry(shape: InputShape | None) -> tuple[Reads | None, int, tuple[int, int] | None]:
    """What a stem reads of an input: its kind, its channels, numbers or vocabulary, and the resolution of its map."""
    if shape is None:
        return None, 3, None
    if isinstance(shape, Tokens):
        return "tokens", shape.vocabulary, (1, shape.length)
    if len(shape) == 1:
        return "vector", shape[0], (1, 1)
    channels, height, wide = shape
    return "map", channels, (height, wide)


def _check_stem(name: object, role: str, kind: Reads | None, shape: InputShape | None) -> None:
    with at("stem"):
        op = find_op(name, (role,))
    if shape is not None and op.reads != kind:
        fitting = ", ".join(sorted(other.name for other in ops(role).values() if other.reads == kind))
        raise SpecError(
            f"stem: {op.name} reads {_READ[op.reads]}; the input {shape_text(shape)} is {_READ[kind]}, for {fitting}"
        )


_READ = {"map": "an image or map", "vector": "a vector", "tokens": "tokens", None: "unknown"}


def width(value: Any, path: str) -> int:
    """`value`, the width of a node. Raises SpecError unless it is one."""
    if type(value) is not int or not 1 <= value <= WIDTH:
        raise SpecError(f"{path}: dim = {cut(value)} is not allowed; allowed is an integer from 1 to {WIDTH:,}")
    return value


def reduction_of(node: Node) -> int:
    """How many times smaller a map becomes."""
    resize = find_op(node["op"]).resize
    return round(LARGE / resize(LARGE, node)) if resize is not None else 1
