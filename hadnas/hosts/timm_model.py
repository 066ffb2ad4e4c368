"""The timm host: any network of timm by name, as a baseline."""

from typing import Any

import timm
from torch import nn

from hadnas.arch.read import Call, Node, checked_values
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op, register
from hadnas.errors import at, unknown


def wire_timm(cls: Any, node: Node, task: Task | None) -> tuple[Node, Call]:
    """The completed node and the call of a timm model. Raises UnknownName for a name that timm lacks."""
    with at("architecture"):
        values = checked_values(find_op("timm", ("host",)), node)
        if not timm.is_model(values["model"]):
            raise unknown("timm model", values["model"], timm.list_models())
    channels, classes = (task.shape[0], task.outputs) if task is not None else (3, 1000)
    return {"op": "timm", **values}, Call("timm", cls, (), {**values, "in_chans": channels, "num_classes": classes})


@register("host", name="timm", wire=wire_timm)
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
