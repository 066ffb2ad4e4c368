"""What a node means at one site: whether it fits there, and the call that builds it."""

from dataclasses import replace
from typing import Any

from hadnas.arch.read import Call, Node, Place, read
from hadnas.blocks.registry import Op, find_op
from hadnas.errors import SpecError, at, cut
from hadnas.hosts.expression import Name
from hadnas.hosts.graft.observe import Shape
from hadnas.hosts.graft.patterns import matching
from hadnas.hosts.graft.sites import Site, find_sites
from hadnas.hosts.graft.wrapper import Replacement

KEEP, DROP = "keep", "drop"
"""The words for the parent's own module, and for nothing in its place."""

PARENT_MODULE = Name("network.get_submodule(path)")
"""An argument that is the parent's module at the site `path`, in code and in a call."""

REPLACING = ("block", "residual")
ROLES_AT_SITES = (*REPLACING, "graft")


def dropped(site: Site) -> Node:
    """The node of nothing at a site: the identity or, for a branch inside a block, zeros."""
    if site.kind == "activation":
        return {"op": "act", "act": None}
    return {"op": "zero"} if site.inner and site.kind != "gate" else {"op": "identity"}


def misfit(site: Site, op: Op) -> str:
    """Why an op cannot stand at a site, or ""."""
    found = f"it is of kind {site.kind}"
    if op.kinds:
        return "" if site.kind in op.kinds else f"{found}; allowed for {op.name} is {' or '.join(op.kinds)}"
    if site.kind == "activation":
        return f"{found}; allowed is the op act"
    if not site.equal:
        return "it changes the shape of its input; allowed are the ops second_order and act"
    if op.name in ("identity", "zero"):
        return ""
    replaces, takes_block = _replaces(op), any("block" in slot.roles for slot in op.slots.values())
    if replaces and site.masked:
        return f"it is called with a mask or another tensor; allowed are {KEEP}, {DROP} and the op input_product"
    if (replaces or takes_block) and (site.grid is None or site.layout == "windows"):
        return f"its input of {site.shape} is no map or grid of tokens, which {op.name} needs; allowed is input_product"
    if "axis" in op.given and site.axis is None:
        return f"the axis of the channels is not known in its input of {site.shape}, which {op.name} needs"
    return ""


def _replaces(op: Op) -> bool:
    """Whether an op stands in place of a module, not around it."""
    return any(role in op.roles for role in REPLACING)


def read_sites(model: str, wanted: Any, shape: Shape | None, classes: int) -> dict[str, tuple[Node, Call]]:
    """The completed node and the call of every site, in the order of the network; without those that stay."""
    if not wanted and (wanted is None or isinstance(wanted, dict)):
        return {}
    if not isinstance(wanted, dict):
        raise SpecError(f"sites = {cut(wanted)} is not allowed; allowed is {{path or pattern: node, ...}}")
    sites = find_sites(model, shape)
    chosen: dict[str, tuple[str, Any]] = {}
    for pattern, node in wanted.items():
        for site in matching(sites, pattern):
            other = chosen.get(site.path, (site.path, None))[0]
            if other not in (site.path, pattern) and pattern != site.path:
                raise SpecError(f"sites: {other!r} and {pattern!r} both name {site.path}; allowed is one of them")
            if chosen.get(site.path, ("", None))[0] != site.path:  # a path goes before a pattern
                chosen[site.path] = pattern, node
    read = {
        path: read_at(site, chosen[path][1], sized=shape is not None, classes=classes)
        for path, site in sites.found.items()
        if path in chosen and chosen[path][1] != KEEP
    }
    replaced = [f"{path}." for path, (_, call) in read.items() if PARENT_MODULE not in call.args]
    return {path: found for path, found in read.items() if not path.startswith(tuple(replaced))}


def read_at(site: Site, node: Any, *, sized: bool, classes: int) -> tuple[Node, Call]:
    """The completed node at a site and its call; without `sized`, rules of a resolution are left out.

    Raises SpecError or UnknownName with the path, the value found and what is allowed.
    """
    path = f"sites.{site.path}"
    if node == DROP:
        node = dropped(site)
    if not isinstance(node, dict):
        raise SpecError(f"{path}: found {cut(node)}; allowed are {KEEP!r}, {DROP!r} and a node {{'op': name, ...}}")
    with at(path):
        op = find_op(node.get("op"), ROLES_AT_SITES)
        if reason := misfit(site, op):
            raise SpecError(f"{op.name} cannot stand here: {reason}")
    place = Place(site.dim, site.dim, (site.grid or (1, 1)) if sized else None, classes)
    completed, call = read(node, ROLES_AT_SITES, place, path)
    if _replaces(find_op(completed["op"])):
        return completed, _adapted(call, site, further=site.extras)
    slots = find_op(completed["op"]).slots
    inner = {name: _adapted(value, site) for name, value in call.kwargs.items() if "block" in slots[name].roles}
    given = {"parent": PARENT_MODULE, "dim": site.dim, "axis": site.axis}
    args = tuple(given[name] for name in op.given if name in given)
    return completed, replace(call, args=args, kwargs={**call.kwargs, **inner})


def _adapted(call: Call, site: Site, *, further: bool = False) -> Call:
    """The call of a block, on maps, as one for the layout of a site; `further`: it gets further arguments there."""
    layout = "nchw" if call.op == "identity" else site.layout
    if layout == "nchw" and not further:
        return call
    arguments: dict[str, Any] = {"block": call, "layout": layout}
    arguments |= {} if layout == "nchw" else {"grid": site.grid, "prefix": site.prefix}
    arguments |= {"positions": True} if further and site.positions else {}
    return Call(call.op, Replacement, (), arguments, call.place)
