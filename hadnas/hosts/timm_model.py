"""The timm host: any network of timm by name, as a baseline or with grafts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import groupby
from typing import Any

import timm
from torch import nn

from hadnas.arch.diagram import Box, boxes, values_text
from hadnas.arch.read import Call, Node, checked_values
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op, register
from hadnas.errors import SpecError, at, unknown
from hadnas.hosts.expression import expression
from hadnas.hosts.graft.observe import default_size, fixed_size
from hadnas.hosts.graft.place import PARENT_MODULE, ROLES_AT_SITES, read_sites
from hadnas.hosts.graft.weights import check_weights, described, named_weights, started
from hadnas.hosts.graft.wrapper import Wrapper
from hadnas.hosts.host import ENTRY, Host, Moments, Plan, instantiate
from hadnas.hosts.pyramid import init_weights


class TimmHost(Host):
    """A network that timm builds, with other modules at some of its sites.

    The completed node has neither `weights` nor `sites` if there are none, and no site inside a replaced one. Its call
    is that of the parent; with `sites`, a list of calls, and their `paths`, innermost first.
    """

    in_timm = False

    def read(self, node: Node, task: Task | None) -> tuple[Node, Call]:
        """See `Host.read`. Raises UnknownName for a name that timm lacks, SpecError for what does not fit a site."""
        op = find_op(node["op"])
        with at("architecture"):
            values = checked_values(op, node)
            model = values["model"]
            if not timm.is_model(model):
                raise unknown("timm model", model, timm.list_models())
            weights = named_weights(model, values["weights"])
        channels, classes = (task.shape[0], task.outputs) if task is not None else (3, 1000)
        given: dict[str, Any] = {"model": model, "in_chans": channels, "num_classes": classes}
        cls: Any = timm_model
        if task is not None and fixed_size(model) and task.shape[1:] != default_size(model)[1:]:
            cls, given = sized_timm_model, {**given, "img_size": task.shape[1:]}
        completed: Node = {"op": op.name, "model": model}
        if weights is not None:
            completed["weights"] = given["weights"] = weights
        with at("architecture"):
            read = read_sites(model, values["sites"], None if task is None else task.shape, classes)
        if read:
            completed["sites"] = {path: found for path, (found, _) in read.items()}
            inner_first = sorted(read, key=lambda path: -path.count("."))
            given |= {"paths": tuple(inner_first), "sites": [read[path][1] for path in inner_first]}
        return completed, Call(op.name, cls, (), given)

    def layers(self, node: Node) -> dict[str, int]:
        """Its convolutions; empty with linear layers before the classifier, as these may be of any family."""
        count = _convolutions(node["model"])
        return {} if count is None else {"convolution": count}

    def columns(self, node: Node) -> list[tuple[str, list[Box]]]:
        """One box under the model's name, and one for every graft."""
        parent = (node["op"], [Box(node["model"], values_text(node))])
        grafts = [box for found in node.get("sites", {}).values() for box in boxes([found])]
        return [parent, ("grafts", grafts)] if grafts else [parent]

    def build(
        self, plan: Plan, device: Any = None, dtype: Any = None, *, start: bool = True, **timm_arguments: Any
    ) -> nn.Module:
        """See `Host.build`; on the meta device it loads no weights. Raises StudyError if they cannot be loaded."""
        if timm_arguments:
            raise SpecError(
                f"{sorted(timm_arguments)} are of hadnas's own hosts; give them to timm.create_model itself"
            )
        weights = self.weights(plan) if start and str(device) != "meta" else None
        return self._started(plan, weights, _sites(plan, device, dtype), device, dtype)

    def _started(self, plan: Plan, weights: str | None, sites: Any, device: Any, dtype: Any = None) -> nn.Module:
        parent = _parent(plan.call)
        own = {("resolution" if name == "img_size" else name): value for name, value in parent.kwargs.items()}
        whole = Call(parent.op, timm_network, (), {**own, "weights": weights, "sites": sites})
        network: nn.Module = instantiate(whole, parent.op, device, dtype)
        return network

    def weights(self, plan: Plan) -> str | None:
        """See `Host.weights`."""
        named: str | None = plan.call.kwargs.get("weights")
        return named

    def origins(self, plan: Plan) -> dict[str, str]:
        """See `Host.origins`: all but those of grafts, of replaced modules and of a classifier for other classes."""
        model, weights = plan.call.kwargs["model"], self.weights(plan)
        if weights is None:
            return {}
        network = self._started(plan, None, {}, "meta")
        new: tuple[str, ...] = ()
        if described(model, weights).classes != plan.task.outputs:
            last = timm.get_pretrained_cfg(model).classifier
            new = tuple(f"{name}." for name in ((last,) if isinstance(last, str) else last))
        before = {id(value): name for name, value in network.named_parameters() if not name.startswith(new)}
        placed(network, _sites(plan, "meta", None))
        return {name: before[id(value)] for name, value in network.named_parameters() if id(value) in before}

    def teacher(self, plan: Plan, class_names: Sequence[str]) -> nn.Module:
        """See `Host.teacher`; names of classes are compared if the weights have them."""
        model, weights = plan.call.kwargs["model"], self.weights(plan)
        if weights is None:
            return super().teacher(plan, class_names)
        known = described(model, weights)
        if known.classes != plan.task.outputs:
            found = f"{known.classes:,} classes, not the {plan.task.outputs:,} of the images"
        elif known.class_names and class_names and known.class_names != tuple(class_names):
            pairs = zip(known.class_names, class_names, strict=True)
            place, (own, other) = next((place, pair) for place, pair in enumerate(pairs) if pair[0] != pair[1])
            found = f"other classes: class {place} is {own!r}, not {other!r}"
        else:
            return self._started(plan, weights, {}, None)
        raise SpecError(
            f"recipe: distill is not allowed: the weights {weights} are of {found}; allowed is a parent that was "
            f"trained for the classes of the images, as by hadnas retrain timm:{model}"
        )

    def part(self, plan: Plan, call: Call) -> nn.Module:
        """See `Host.part`: the whole."""
        return self.build(plan, "meta")

    def check_start(self, plan: Plan) -> None:
        """See `Host.check_start`."""
        if weights := self.weights(plan):
            check_weights(weights=weights, **_split(_parent(plan.call)))

    def source(self, plan: Plan, moments: Moments | None = None, class_names: Sequence[str] = ()) -> str:
        """Code that defines ENTRY by `timm.create_model`; moments and class names replace timm's own."""
        known: dict[str, Any] = {} if moments is None else {"mean": moments[0], "std": moments[1]}
        known |= {"label_names": tuple(class_names)} if class_names else {}
        given = "".join(f"\n{text}" for text in _placed(plan.call))
        if moments is not None:
            given += """
    # Images are pixels scaled to 0..1, minus `mean`, over `std`: those of its training images, not timm's."""
        if known:
            given += f"""
    network.pretrained_cfg = {{**network.pretrained_cfg, **{known!r}}}"""
        return f'''
def {ENTRY}(pretrained: bool = False, *, device: Any = None, dtype: Any = None) -> nn.Module:
    """The network; `pretrained` loads model.safetensors beside this file."""
    network = {expression(_parent(plan.call), "device=device, dtype=dtype")}{given}
    if pretrained:
        timm.models.load_checkpoint(network, str(Path(__file__).with_name("model.safetensors")))
    return network
'''


def _parent(call: Call) -> Call:
    """The call of the parent alone, with fresh weights."""
    own = {name: value for name, value in call.kwargs.items() if name not in ("weights", "sites", "paths")}
    return replace(call, kwargs=own)


def _split(parent: Call) -> dict[str, Any]:
    """The model of a parent's call, and the other arguments of `timm.create_model`."""
    arguments = dict(parent.kwargs)
    return {"model": arguments.pop("model"), "arguments": arguments}


def _placed(call: Call) -> Iterator[str]:
    """The statements that place the grafts; equal ones that follow each other are a loop."""
    sites = zip(call.kwargs.get("paths", ()), call.kwargs.get("sites", []), strict=True)
    texts = [(path, expression(graft, "device=device, dtype=dtype")) for path, graft in sites]
    for text, run in groupby(texts, key=lambda one: one[1]):
        yield f"    for path in {[path for path, _ in run]!r}:\n        network.set_submodule(path, {text})"


def _sites(plan: Plan, device: Any, dtype: Any) -> dict[str, Callable[[nn.Module], nn.Module]]:
    """The makers of what stands at the sites of a plan, innermost first."""
    kwargs = plan.call.kwargs
    calls = zip(kwargs.get("paths", ()), kwargs.get("sites", []), strict=True)
    return {path: partial(_made, call, path, device, dtype) for path, call in calls}


def _made(call: Call, path: str, device: Any, dtype: Any, parent: nn.Module) -> nn.Module:
    """The module of a graft at a site; new layers start as those of every network here."""
    args = tuple(parent if value is PARENT_MODULE else value for value in call.args)
    made: nn.Module = instantiate(replace(call, args=args), f"sites.{path}", device, dtype)
    new = [made] if not isinstance(made, Wrapper) else [part for part in made.children() if part is not parent]
    for part in new:
        init_weights(part)
    return made.train(parent.training)


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


def sized_timm_model(
    *,
    model: str,
    img_size: tuple[int, int],
    in_chans: int = 3,
    num_classes: int = 1000,
    device: Any = None,
    dtype: Any = None,
) -> nn.Module:
    """A network of timm that is built for one size of images, for another size; freshly initialised.

    Shapes: (B, in_chans, *img_size) -> (B, num_classes).
    """
    network: nn.Module = timm.create_model(
        model, in_chans=in_chans, num_classes=num_classes, img_size=img_size, device=device, dtype=dtype
    )
    return network


@register("host", name="timm", children={"sites": ROLES_AT_SITES}, host=TimmHost())
def timm_network(
    *,
    model: str,
    weights: str | None = None,
    sites: Mapping[str, Callable[[nn.Module], nn.Module]] | None = None,
    in_chans: int = 3,
    num_classes: int = 1000,
    resolution: tuple[int, int] | None = None,
    device: Any = None,
    dtype: Any = None,
) -> nn.Module:
    """A network of timm, fresh or with weights, with other modules at some of its sites.

    weights: None, "pretrained" (timm's own) or a file of weights of the model
    sites: path or pattern of modules -> what stands there: "keep", "drop", a block or a graft; `hadnas sites` lists
    them. Patterns: `layer3.*`, `blocks.{8-11}.mlp`, `kind:mlp`

    Shapes: (B, in_chans, H, W) -> (B, num_classes).
    """
    arguments: dict[str, Any] = {"in_chans": in_chans, "num_classes": num_classes, "device": device, "dtype": dtype}
    if resolution is not None:
        arguments["img_size"] = resolution
    if weights is not None:
        network = started(model, weights, arguments)
    elif resolution is not None:
        network = sized_timm_model(model=model, **arguments)
    else:
        network = timm_model(model=model, **arguments)
    return placed(network, sites or {})


def placed(network: nn.Module, sites: Mapping[str, Callable[[nn.Module], nn.Module]]) -> nn.Module:
    """A network with other modules at some of its sites."""
    for path, make in sites.items():
        network.set_submodule(path, make(network.get_submodule(path)))
    return network
