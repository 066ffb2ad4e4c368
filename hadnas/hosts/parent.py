"""The parent of a graft: its call, and what is placed at its sites, as modules and as code."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from itertools import groupby
from typing import Any

import timm
from torch import Tensor, nn

from hadnas.arch.read import Call
from hadnas.errors import StudyError
from hadnas.hosts.expression import expression
from hadnas.hosts.graft.place import PARENT_MODULE
from hadnas.hosts.graft.weights import at_site, distilled, unlike
from hadnas.hosts.graft.wrapper import Wrapper
from hadnas.hosts.host import Plan, instantiate
from hadnas.hosts.staged import init_weights


def parent_call(call: Call) -> Call:
    """The call of the parent alone, with fresh weights."""
    own = {name: value for name, value in call.kwargs.items() if name not in ("weights", "sites", "paths")}
    return replace(call, kwargs=own)


def split_call(parent: Call) -> dict[str, Any]:
    """The model of a parent's call, and the other arguments of `timm.create_model`."""
    arguments = dict(parent.kwargs)
    return {"model": arguments.pop("model"), "arguments": arguments}


def placing(call: Call) -> Iterator[str]:
    """The statements that place the grafts; equal ones that follow each other are a loop."""
    sites = zip(call.kwargs.get("paths", ()), call.kwargs.get("sites", []), strict=True)
    texts = [(path, expression(graft, "device=device, dtype=dtype")) for path, graft in sites]
    for text, run in groupby(texts, key=lambda one: one[1]):
        yield f"    for path in {[path for path, _ in run]!r}:\n        network.set_submodule(path, {text})"


def makers(
    plan: Plan, device: Any, dtype: Any, weights: str | None = None
) -> dict[str, Callable[[nn.Module], nn.Module]]:
    """The makers of what stands at the sites of a plan, innermost first; with its distilled tensors in `weights`.

    Raises StudyError if the file cannot be read; a maker, if they do not fit.
    """
    kwargs, nodes = plan.call.kwargs, plan.arch.node.get("sites", {})
    known = distilled(weights) if weights and nodes else {}
    file = (weights or "").rpartition("#")[0]
    found: dict[str, Callable[[nn.Module], nn.Module]] = {}
    for path, call in zip(kwargs.get("paths", ()), kwargs.get("sites", []), strict=True):
        found[path] = make = partial(_made, call, path, device, dtype)
        if state := known.get(name := at_site(path, nodes[path])):
            found[path] = partial(_distilled, make, state, f"{file} does not fit at {name}")
    return found


def renamed(modules: str | tuple[str, ...] | None, names: Mapping[str, str]) -> Any:
    """Names of modules of the parent in a network."""
    if isinstance(modules, str) or modules is None:
        return names.get(modules or "", modules)
    return tuple(names.get(name, name) for name in modules)


def _distilled(
    make: Callable[[nn.Module], nn.Module], state: Mapping[str, Tensor], misfit: str, parent: nn.Module
) -> nn.Module:
    """What a maker gives, with these tensors."""
    made = make(parent)
    if difference := unlike(made, state):
        raise StudyError(f"{misfit} {difference}; distill again for this task and code")
    own = made.state_dict()
    made.load_state_dict({name: tensor.to(own[name].device) for name, tensor in state.items()})
    return made


def _made(call: Call, path: str, device: Any, dtype: Any, parent: nn.Module) -> nn.Module:
    """The module of a graft at a site; new layers start as those of every network here."""
    args = tuple(parent if value is PARENT_MODULE else value for value in call.args)
    made: nn.Module = instantiate(replace(call, args=args), f"sites.{path}", device, dtype)
    new = [made] if not isinstance(made, Wrapper) else [part for part in made.children() if part is not parent]
    for part in new:
        init_weights(part)
    return made.train(parent.training)


@cache
def convolutions(model: str) -> tuple[str, ...] | None:
    """Paths of a timm network's convolutions; None if it has linear layers before its classifier or cannot be built."""
    if not timm.is_model(model):
        return None
    try:
        network = timm.create_model(model, num_classes=0, device="meta")
    except Exception:  # of any type; measuring the network refuses it, with the reason
        return None
    if any(isinstance(module, nn.Linear) for module in network.modules()):
        return None
    return tuple(path for path, module in network.named_modules() if isinstance(module, nn.Conv2d))


def placed(network: nn.Module, sites: Mapping[str, Callable[[nn.Module], nn.Module]]) -> nn.Module:
    """A network with other modules at some of its sites."""
    for path, make in sites.items():
        network.set_submodule(path, make(network.get_submodule(path)))
    return network
