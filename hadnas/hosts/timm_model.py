"""The timm host: any network of timm by name, as a baseline or with grafts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import timm
from timm.models import build_model_with_cfg
from torch import nn

from hadnas.arch.diagram import Box, boxes, values_text
from hadnas.arch.read import Call, Node, Place, checked_values
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op, register
from hadnas.errors import BuildError, SpecError, at, first_line, unknown
from hadnas.hosts.expression import Name, expression
from hadnas.hosts.graft.observe import default_size, fixed_size
from hadnas.hosts.graft.place import ROLES_AT_SITES, read_sites
from hadnas.hosts.graft.weights import check_weights, described, named_weights, started
from hadnas.hosts.host import Host, Plan, instantiate, normalisation_text
from hadnas.hosts.pair.encoder import TimmEncoder
from hadnas.hosts.parent import convolutions, makers, parent_call, placed, placing, renamed, split_call
from hadnas.hosts.staged_host import IMAGENET_CLASSES
from hadnas.inputs import AllMoments, InputShape, Tokens, shape_text

TIMM_ARGUMENTS = ("features_only", "feature_cls", "num_classes", "out_indices")
"""Arguments of `timm.create_model` for a network of timm; others, such as `drop_rate`, are those of the parent."""

STAGES = 5
"""The most stages of a network; more features are those of blocks."""


class TimmHost(Host):
    """A network that timm builds, with other modules at some of its sites.

    The completed node has neither `weights` nor `sites` if there are none, and no site inside a replaced one. Its call
    is that of the parent; with `sites`, a list of calls, and their `paths`, innermost first.
    """

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

    def encoder(self, node: Node, shape: InputShape | None, pool: bool) -> tuple[Node, Call, Place]:
        """See `Host.encoder`: a model without weights and sites; its features have one position."""
        values = checked_values(find_op(node["op"]), node)
        if values["weights"] is not None or values["sites"]:
            raise SpecError("an encoder of timm has a model alone; `weights` and `sites` are not allowed in a pair")
        if shape is not None and (isinstance(shape, Tokens) or len(shape) != 3):
            raise SpecError(f"{values['model']} reads an image; the input is {shape_text(shape)}")
        channels = 3 if shape is None else shape[0]
        given: dict[str, Any] = {"model": values["model"], "in_chans": channels, "pool": pool}
        if not timm.is_model(values["model"]):
            raise unknown("timm model", values["model"], timm.list_models())
        if shape is not None and fixed_size(values["model"]) and shape[1:] != default_size(values["model"])[1:]:
            given["img_size"] = tuple(shape[1:])
        dim = _features(values["model"])
        return (
            {"op": node["op"], "model": values["model"]},
            Call("timm", TimmEncoder, (), given),
            Place(dim, dim, None if shape is None else (1, 1), IMAGENET_CLASSES),
        )

    def layers(self, node: Node) -> dict[str, int]:
        """Its convolutions outside its sites; empty with linear layers before the classifier, of any family."""
        paths, sites = convolutions(node["model"]), tuple(f"{path}." for path in node.get("sites", {}))
        return {} if paths is None else {"convolution": sum(not f"{path}.".startswith(sites) for path in paths)}

    def columns(self, node: Node) -> list[tuple[str, list[Box]]]:
        """One box under the model's name, and one for every graft."""
        parent = (node["op"], [Box(node["model"], values_text(node))])
        grafts = [box for found in node.get("sites", {}).values() for box in boxes([found])]
        return [parent, ("grafts", grafts)] if grafts else [parent]

    def build(
        self, plan: Plan, device: Any = None, dtype: Any = None, *, start: bool = True, **timm_arguments: Any
    ) -> nn.Module:
        """See `Host.build`; on the meta device it loads no weights. Raises StudyError if they cannot be loaded."""
        weights = self.weights(plan) if start and str(device) != "meta" else None
        make = partial(self._started, plan, weights, makers(plan, device, dtype, weights), device, dtype)
        if not timm_arguments:
            return make()
        if other := sorted(timm_arguments.keys() - TIMM_ARGUMENTS):
            raise SpecError(f"{other} are not allowed for {plan.arch.node['model']}; allowed are {TIMM_ARGUMENTS}")
        known = {"in_chans": plan.task.shape[0], "num_classes": plan.task.outputs, **timm_arguments}
        network: nn.Module = build_model_with_cfg(
            make, plan.name, False, pretrained_cfg=self.config(plan), feature_cfg=self.features(plan), **known
        )
        return network

    def _started(
        self, plan: Plan, weights: str | None, sites: Any, device: Any, dtype: Any = None, **timm_arguments: Any
    ) -> nn.Module:
        parent = parent_call(plan.call)
        own = {**parent.kwargs, "weights": weights, "sites": sites, **timm_arguments}
        own = {("resolution" if name == "img_size" else name): value for name, value in own.items()}
        network: nn.Module = instantiate(replace(parent, cls=timm_network, kwargs=own), parent.op, device, dtype)
        return network

    def features(self, plan: Plan) -> dict[str, Any]:
        """See `Host.features`: of more than five, as of the blocks of a transformer, the last three."""
        network = self._started(plan, None, {}, "meta")
        number = len(getattr(network, "feature_info", ()))
        found: dict[str, Any] = {"out_indices": tuple(range(0 if number <= STAGES else number - 3, number))}
        return found | ({"feature_cls": "getter"} if hasattr(network, "forward_intermediates") else {})

    def config(self, plan: Plan, moments: AllMoments | None = None, class_names: Sequence[str] = ()) -> dict[str, Any]:
        """See `Host.config`; without moments, images are those of timm's configuration of the parent."""
        cfg, call = timm.get_pretrained_cfg(plan.call.kwargs["model"]), plan.call
        known = super().config(plan, moments, class_names)
        if moments is None and len(cfg.mean) == plan.task.shape[0]:
            known |= {key: getattr(cfg, key) for key in ("mean", "std", "crop_pct", "crop_mode", "interpolation")}
        names = {origin.rpartition(".")[0]: name.rpartition(".")[0] for name, origin in self._names(plan).items()}
        known |= {key: renamed(getattr(cfg, key), names) for key in ("first_conv", "classifier")}
        return known | {"fixed_input_size": "img_size" in call.kwargs}

    def weights(self, plan: Plan) -> str | None:
        """See `Host.weights`."""
        named: str | None = plan.call.kwargs.get("weights")
        return named

    def origins(self, plan: Plan) -> dict[str, str]:
        """See `Host.origins`: all but those of grafts, of replaced modules and of a classifier for other classes."""
        model, weights = plan.call.kwargs["model"], self.weights(plan)
        if weights is None:
            return {}
        new: tuple[str, ...] = ()
        if described(model, weights).classes != plan.task.outputs:
            last = timm.get_pretrained_cfg(model).classifier
            new = tuple(f"{name}." for name in ((last,) if isinstance(last, str) else last))
        return {name: origin for name, origin in self._names(plan).items() if not origin.startswith(new)}

    def _names(self, plan: Plan) -> dict[str, str]:
        """Parameter -> its name in the parent; without those of grafts and replaced modules."""
        network = self._started(plan, None, {}, "meta")
        before = {id(value): name for name, value in network.named_parameters()}
        placed(network, makers(plan, "meta", None))
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
            check_weights(weights=weights, **split_call(parent_call(plan.call)))
            placed(self._started(plan, None, {}, "meta"), makers(plan, "meta", None, weights))

    def source(self, plan: Plan, moments: AllMoments | None = None, class_names: Sequence[str] = ()) -> str:
        """See `Host.source`."""
        parent, config = parent_call(plan.call), self.config(plan, moments, class_names)
        given = {"in_chans": Name("in_chans"), "num_classes": Name("num_classes")}
        sized = "" if "img_size" not in parent.kwargs else f"\n    img_size: Any = {parent.kwargs['img_size']!r},"
        given |= {"img_size": Name("img_size")} if sized else {}
        made = expression(replace(parent, kwargs={**parent.kwargs, **given}), "device=device, dtype=dtype")
        return f'''
def make_network(
    *,
    in_chans: int = {plan.task.shape[0]},
    num_classes: int = {plan.task.outputs},{sized}
    device: Any = None,
    dtype: Any = None,
) -> nn.Module:
    """timm's {parent.kwargs["model"]}{" with other modules at some of its sites" * ("sites" in plan.call.kwargs)}."""
    network = {made}{"".join(f"{chr(10)}{text}" for text in placing(plan.call))}
    return network


{f"# {normalisation_text(moments, '`mean`', '`std`')}" if moments else ""}
{self.registration(plan, "make_network", config, "", {"num_classes": plan.task.outputs})}
'''


@cache
def _features(model: str) -> int:
    """The width of what a timm network's classifier reads. Raises BuildError if it cannot be built."""
    try:
        found: int = timm.create_model(model, num_classes=0, device="meta").head_hidden_size
    except Exception as error:
        raise BuildError(f"{model} cannot be built: {type(error).__name__}: {first_line(error)}") from error
    return found


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

    logits = model(x)

    `weights` is None, "pretrained" (timm's own) or a file of weights of the model. `sites` has, for a path or pattern
    of modules (`layer3.*`, `blocks.{8-11}.mlp`, `kind:mlp`; `hadnas sites` lists them), "keep", "drop", a block or a
    graft.

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
