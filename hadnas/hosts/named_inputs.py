"""What the hosts of several named inputs share: how their networks are built, configured and written as code."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from hadnas.arch.read import Call
from hadnas.errors import SpecError
from hadnas.hosts.expression import expression
from hadnas.hosts.host import ENTRY, Host, Plan, instantiate, normalisation_text
from hadnas.inputs import AllMoments, config_of


class NamedInputsHost(Host):
    """Not registered with timm, whose interface is for networks of one image."""

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
            own = dict(zip(("mean", "std"), known[name], strict=True)) if name in known else {}
            inputs[name] = config_of(shape) | own
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
