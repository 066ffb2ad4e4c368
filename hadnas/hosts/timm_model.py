"""The timm host: any network of timm by name, as a baseline."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import timm
from torch import nn

from hadnas.arch.diagram import Box, values_text
from hadnas.arch.read import Call, Node, checked_values
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op, register
from hadnas.errors import SpecError, at, unknown
from hadnas.hosts.expression import expression
from hadnas.hosts.host import ENTRY, Host, Moments, Plan, instantiate


class TimmHost(Host):
    """A network that timm builds: hadnas knows its layers, but not their arrangement."""

    in_timm = False

    def read(self, node: Node, task: Task | None) -> tuple[Node, Call]:
        """See `Host.read`. Raises UnknownName for a name that timm lacks."""
        op = find_op(node["op"])
        with at("architecture"):
            values = checked_values(op, node)
            if not timm.is_model(values["model"]):
                raise unknown("timm model", values["model"], timm.list_models())
        channels, classes = (task.shape[0], task.outputs) if task is not None else (3, 1000)
        given = {"in_chans": channels, "num_classes": classes}
        return {"op": op.name, **values}, Call(op.name, op.cls, (), {**values, **given})

    def layers(self, node: Node) -> dict[str, int]:
        """Its convolutions; empty with linear layers before the classifier, as these may be of any family."""
        count = _convolutions(node["model"])
        return {} if count is None else {"convolution": count}

    def columns(self, node: Node) -> list[tuple[str, list[Box]]]:
        """One box under the model's name."""
        return [(node["op"], [Box(node["model"], values_text(node))])]

    def build(self, plan: Plan, device: Any = None, dtype: Any = None, **timm_arguments: Any) -> nn.Module:
        """The module, freshly initialised. Raises SpecError for arguments of timm, BuildError if timm fails."""
        if timm_arguments:
            raise SpecError(
                f"{sorted(timm_arguments)} are of hadnas's own hosts; give them to timm.create_model itself"
            )
        network: nn.Module = instantiate(plan.call, plan.call.op, device, dtype)
        return network

    def source(self, plan: Plan, moments: Moments | None = None, class_names: Sequence[str] = ()) -> str:
        """Code that defines ENTRY by `timm.create_model`; moments and class names replace timm's own."""
        known: dict[str, Any] = {} if moments is None else {"mean": moments[0], "std": moments[1]}
        known |= {"label_names": tuple(class_names)} if class_names else {}
        given = (
            ""
            if moments is None
            else """
    # Images are pixels scaled to 0..1, minus `mean`, over `std`: those of its training images, not timm's."""
        )
        if known:
            given += f"""
    network.pretrained_cfg = {{**network.pretrained_cfg, **{known!r}}}"""
        return f'''
def {ENTRY}(pretrained: bool = False, *, device: Any = None, dtype: Any = None) -> nn.Module:
    """The network; `pretrained` loads model.safetensors beside this file."""
    network = {expression(plan.call, "device=device, dtype=dtype")}{given}
    if pretrained:
        timm.models.load_checkpoint(network, str(Path(__file__).with_name("model.safetensors")))
    return network
'''


@cache
def _convolutions(model: str) -> int | None:
    """Convolution layers of a timm network; None if it has linear ones before its classifier, or cannot be built."""
    if not timm.is_model(model):
        return None
    try:
        network = timm.create_model(model, num_classes=0, device="meta")
    except Exception:  # of any type; measuring the network refuses it, with the reason
        return None
    layers = list(network.modules())
    return None if any(isinstance(m, nn.Linear) for m in layers) else sum(isinstance(m, nn.Conv2d) for m in layers)


@register("host", name="timm", host=TimmHost())
def timm_model(
    *, model: str, in_chans: int = 3, num_classes: int = 1000, device: Any = None, dtype: Any = None
) -> nn.Module:
    """A network of timm, freshly initialised.

    Shapes: (B, in_chans, H, W) -> (B, num_classes).
    """
    network: nn.Module = timm.create_model(
        model, in_chans=in_chans, num_classes=num_classes, device=device, dtype=dtype
    )
    return network
