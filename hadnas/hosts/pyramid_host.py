"""The pyramid as a host: how width and resolution run through it, its configuration for timm, its diagram."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hadnas.arch.diagram import Box, boxes
from hadnas.arch.families import has_role
from hadnas.arch.node import nodes
from hadnas.arch.read import Call, Node, Place, checked_values, read, read_list, resized
from hadnas.arch.task import Task
from hadnas.blocks.layers import normalisation
from hadnas.blocks.registry import FAMILIES, Reads, find_op, ops
from hadnas.errors import SpecError, at, cut
from hadnas.hosts.expression import Name
from hadnas.hosts.host import Host, Plan
from hadnas.hosts.pair.encoder import Encoder
from hadnas.hosts.stage import Stage
from hadnas.inputs import AllMoments, InputShape, Tokens, shape_text
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
        shape, classes = (None, IMAGENET_CLASSES) if task is None else (task.shape, task.outputs)
        read_in = _read_body(values, shape, classes)
        place = read_in.place
        head_node, head_call = read(values["head"], ("head",), place, "head")
        completed = {"op": op.name, **read_in.node, "norm": values["norm"], "head": head_node}
        arguments = {"in_chans": read_in.channels, "num_classes": classes, **read_in.calls}
        return completed, Call(op.name, op.cls, (), {**arguments, "norm": values["norm"], "head": head_call})

    def encoder(self, node: Node, shape: InputShape | None, pool: bool) -> tuple[Node, Call, Place]:
        """See `Host.encoder`: a pyramid without its head, whose stem fits the input."""
        op = find_op(node["op"])
        if "head" in node:
            raise SpecError("an encoder has no head: the pair has one")
        values = checked_values(op, {**node, "head": None})
        found = _read_body(values, shape, IMAGENET_CLASSES)
        completed = {"op": op.name, **found.node, "norm": values["norm"]}
        call = Call("encoder", Encoder, (), {**found.calls, "norm": values["norm"], "pool": pool})
        return completed, call, found.place

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


@dataclass(frozen=True)
class _Body:
    """Stem and stages: their node, their calls, the place of what reads their map, the channels of the input."""

    node: Node
    calls: dict[str, Any]
    place: Place
    channels: int


def _read_body(values: Node, shape: InputShape | None, classes: int) -> _Body:
    """Stem and stages of a pyramid for an input of this shape, or of any. Raises SpecError or UnknownName."""
    with at("architecture"):
        if not isinstance(values["stages"], list) or not values["stages"]:
            raise SpecError(f"stages = {cut(values['stages'])} is not allowed; allowed is a list of at least one stage")
        if not isinstance(values["stem"], dict):
            raise SpecError(f"stem = {cut(values['stem'])} is not allowed; allowed is a stem node with its dim")
    kind, channels, size = _entry(shape)

    # The stem has its own width, as it has no stage around it.
    stem = {key: value for key, value in values["stem"].items() if key != "dim"}
    _check_stem(stem.get("op"), kind, shape)
    dim = width(values["stem"].get("dim"), "stem")
    place = Place(channels, dim, size, classes)
    stem_node, stem_call = read(stem, ("stem",), place, "stem")
    stem_node = {"op": stem_node["op"], "dim": dim, **stem_node}
    size = resized(stem_node, place, "stem")
    reduction = 1 if kind in ("vector", "tokens") else _reduction(stem_node)

    stage_nodes: list[Node] = []
    stage_calls: list[Call] = []
    for index, stage in enumerate(values["stages"]):
        path = f"stages.{index}"
        if not isinstance(stage, dict) or set(stage) - {"dim", "down", "blocks"}:
            raise SpecError(
                f"{path}: found {cut(stage)}; allowed is {{'dim': int, 'down': node or None, 'blocks': [...]}}"
            )
        place = Place(dim, width(stage.get("dim"), path), size, classes)
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
    node = {"stem": stem_node, "stages": stage_nodes}
    return _Body(node, {"stem": stem_call, "stages": stage_calls}, Place(dim, dim, size, classes), channels)


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


def _check_stem(name: object, kind: Reads | None, shape: InputShape | None) -> None:
    op = find_op(name, ("stem",))
    if shape is not None and op.reads != kind:
        fitting = ", ".join(sorted(other.name for other in ops("stem").values() if other.reads == kind))
        raise SpecError(
            f"stem: {op.name} reads {_READ[op.reads]}; the input {shape_text(shape)} is {_READ[kind]}, for {fitting}"
        )


_READ = {"map": "an image or map", "vector": "a vector", "tokens": "tokens", None: "unknown"}


def width(value: Any, path: str) -> int:
    """`value`, the width of a node. Raises SpecError unless it is one."""
    if type(value) is not int or not 1 <= value <= WIDTH:
        raise SpecError(f"{path}: dim = {cut(value)} is not allowed; allowed is an integer from 1 to {WIDTH:,}")
    return value


def _reduction(node: Node) -> int:
    """How many times smaller a map becomes."""
    resize = find_op(node["op"]).resize
    return round(LARGE / resize(LARGE, node)) if resize is not None else 1
