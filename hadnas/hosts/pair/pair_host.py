"""The pair as a host: how it is read, drawn and written as code."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from hadnas.arch.diagram import Box, boxes
from hadnas.arch.read import Call, Node, Place, checked_values, read
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op
from hadnas.errors import SpecError, at, cut
from hadnas.hosts.expression import expression
from hadnas.hosts.host import ENTRY, Host, Plan, instantiate, normalisation_text
from hadnas.hosts.pair.budget import hidden_of
from hadnas.hosts.staged_host import IMAGENET_CLASSES, width
from hadnas.inputs import AllMoments, InputShape, Tokens, inputs_text, size_of

ENCODERS = ("left", "right")
"""The names of the encoders, in the order of the task's inputs."""

BESIDE_FUSION = ("dim", "params")
"""Keys of a fusion node beside its op's own: the width of its output, and the parameters that it is to have."""


class PairHost(Host):
    """Two encoders, a fusion and a head; not registered with timm, whose interface is for networks of one image."""

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

    def build(
        self, plan: Plan, device: Any = None, dtype: Any = None, *, start: bool = True, **timm_arguments: Any
    ) -> nn.Module:
        """See `Host.build`."""
        if timm_arguments:
            found = ", ".join(sorted(timm_arguments))
            raise SpecError(f"{found}: arguments of timm are for networks of one image; a network of two takes none")
        network: nn.Module = instantiate(plan.call, plan.call.op, device, dtype)
        return network

    def part(self, plan: Plan, call: Call) -> nn.Module:
        """See `Host.part`: the whole."""
        return self.build(plan, "meta")

    def config(self, plan: Plan, moments: AllMoments | None = None, class_names: Sequence[str] = ()) -> dict[str, Any]:
        """What a network keeps about its inputs by name, its classes and its outputs; timm has no such form."""
        known = moments if isinstance(moments, Mapping) else {}
        inputs = {}
        for name, shape in plan.task.inputs:
            own: dict[str, Any] = {"shape": size_of(shape)}
            own |= {"vocabulary": shape.vocabulary} if isinstance(shape, Tokens) else {}
            inputs[name] = own | (dict(zip(("mean", "std"), known[name], strict=True)) if name in known else {})
        found = {"architecture": plan.name, "num_classes": plan.task.outputs, "inputs": inputs}
        return found | ({"label_names": tuple(class_names)} if class_names else {})

    def source(self, plan: Plan, moments: AllMoments | None = None, class_names: Sequence[str] = ()) -> str:
        """Code that defines ENTRY; a loaded network has its inputs, with their moments, in `pretrained_cfg`."""
        return f'''
# {normalisation_text({} if moments is None else moments, "`mean`", "`std`")}
CONFIG = {self.config(plan, moments, class_names)!r}


def {ENTRY}(pretrained: bool = False, *, device: Any = None, dtype: Any = None) -> nn.Module:
    """The network of {" and ".join(name for name, _ in plan.task.inputs)}; `pretrained` loads model.safetensors."""
    network: Any = {expression(plan.call, "device=device, dtype=dtype")}
    network.pretrained_cfg = CONFIG
    if pretrained:
        load_checkpoint(network, str(Path(__file__).with_name("model.safetensors")))
    return network
'''


def _encoder(node: Any, shape: InputShape | None, pool: bool, side: str) -> tuple[Node, Call, Place]:
    """An encoder's node and call, and the place of what reads its map."""
    with at(side):
        if not isinstance(node, dict):
            raise SpecError(f"found {cut(node)}; allowed is an encoder, such as a pyramid without its head")
        op = find_op(node.get("op"), ("host",))
        found: tuple[Node, Call, Place] = op.host.encoder(node, shape, pool)
        return found
