"""What may be chosen at the sites of a space of grafts, one decision after another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hadnas.arch.task import Task
from hadnas.errors import HadnasError, SpecError, cut
from hadnas.hosts.build import build_plan
from hadnas.hosts.graft.place import DROP
from hadnas.hosts.graft.wrapper import Wrapper
from hadnas.hosts.host import Plan, make_plan
from hadnas.space import Params, every, size

MOST = 500
"""The most options of a space, as each is trained."""


@dataclass(frozen=True)
class Option:
    """One option of a decision: the parent network with this graft alone, at one site or at several tied ones.

    params  the choices of the space that give it
    label   what is chosen at its sites, in words
    plan    of the network; it has no `sites` if the option is the parent's own module
    """

    params: Params
    label: str
    plan: Plan

    @property
    def sites(self) -> dict[str, Any]:
        """The completed node at each site that changes."""
        found: dict[str, Any] = self.plan.arch.node.get("sites", {})
        return found

    @cached_property
    def replaced(self) -> tuple[str, ...]:
        """The sites whose module is replaced, other than by one around it."""
        network = build_plan(self.plan, device="meta")
        return tuple(path for path in self.sites if not isinstance(network.get_submodule(path), Wrapper))


@dataclass(frozen=True)
class SiteChoice:
    """A decision of the space with its options, each once: those of one site, or of sites that share a choice."""

    name: str
    options: tuple[Option, ...]


def read_options(space: dict[str, Any], task: Task) -> tuple[Plan, tuple[SiteChoice, ...]]:
    """The parent network of a space of grafts, and the decisions at its sites.

    An option that cannot stand at a site of the task's resolution is left out. Raises SpecError for a space of anything
    else, without weights, with more than MOST options, or in which no option replaces a module.
    """
    sites, fixed = space.get("sites"), {key: value for key, value in space.items() if key != "sites"}
    one = fixed.get("op") == "timm" and all(isinstance(value, str) for value in fixed.values())
    if not one or not isinstance(sites, dict) or not sites:
        raise SpecError(
            f"the space of the host {cut(fixed.get('op'))} has no choices site by site in one network; allowed are "
            "timm:MODEL and spaces of hadnas.graft(MODEL, sites, weights=FILE)"
        )
    if "weights" not in fixed:
        raise SpecError(
            f"the grafts into {fixed['model']} start from no weights, and there is no trained network to distill; "
            "allowed are weights from a FILE or pretrained"
        )
    count = sum(size({**fixed, "sites": {key: value}}) for key, value in sites.items())
    if count > MOST:
        raise SpecError(
            f"the sites have {count:,} options, each of which is trained; allowed are {MOST}: name fewer sites, share "
            "choices with --tied, or give fewer options"
        )
    parent = make_plan(fixed, task)
    choices = tuple(
        SiteChoice(name, tuple(_options({**fixed, "sites": group}, task))) for name, group in _groups(sites).items()
    )
    if not any(option.replaced for choice in choices for option in choice.options):
        raise SpecError(
            f"no option at the sites of {fixed['model']} replaces a module: products, second order and gates change "
            "nothing before they are trained; allowed are sites with blocks, drop or act among their options"
        )
    return parent, choices


def _groups(sites: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sites that share a named choice together, under a name."""
    groups: list[tuple[set[str], dict[str, Any]]] = []
    for path, value in sites.items():
        names, group = {name for params, _ in every({"sites": {path: value}}) for name in params}, {path: value}
        for other in [other for other in groups if other[0] & names]:
            groups.remove(other)
            names, group = names | other[0], {**other[1], **group}
        groups.append((names, group))
    return {f"{next(iter(group))}{f' +{len(group) - 1}' if len(group) > 1 else ''}": group for _, group in groups}


def _options(space: dict[str, Any], task: Task) -> Iterator[Option]:
    """Each option of a space of one decision once."""
    seen: set[str] = set()
    for params, draw in every(space):
        try:
            plan = make_plan(draw, task)
        except HadnasError:  # a rule of an op does not hold, as in a draw of the search
            continue
        if plan.arch.fingerprint not in seen:
            seen.add(plan.arch.fingerprint)
            words = [_words(node) for node in draw["sites"].values()]
            yield Option(params, ", ".join(words if len({*words}) > 1 else words[:1]), plan)


def _words(value: Any) -> str:
    """What is chosen at a site, as `drop` or `residual(star expand=2) layer_scale=0.1`, without the merge `add`."""
    if not isinstance(value, dict):
        return str(value)
    if value["op"] in ("identity", "zero") or value == {"op": "act", "act": None}:
        return DROP
    inner = [_words(node) for part in value.values() for node in _listed(part) if node != {"op": "add"}]
    settings = [f" {key}={part}" for key, part in value.items() if key != "op" and not _listed(part)]
    return f"{value['op']}({', '.join(inner)})".removesuffix("()") + "".join(settings)


def _listed(part: Any) -> list[dict[str, Any]]:
    """The nodes in a slot."""
    return [node for node in (part if isinstance(part, list | tuple) else [part]) if isinstance(node, dict)]
