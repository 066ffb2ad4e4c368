"""Prints the sites of a timm network as a tree, with what may stand at each kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import timm

from hadnas.arch.task import Task
from hadnas.errors import unknown
from hadnas.hosts.build import build_plan
from hadnas.hosts.graft.observe import default_size
from hadnas.hosts.graft.sites import SITE_KINDS, Site, find_sites
from hadnas.hosts.graft.weights import described, named_weights
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import Counts, cost
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid

MAY_STAND: dict[str, str] = {
    "linear": "second_order, input_product if the shape is kept",
    "conv": "second_order, input_product and blocks if the shape is kept",
    "activation": "act, drop",
}
"""Kind of a site -> what may stand there; others preserve the shape and take all of COMMON."""

COMMON = "any block, input_product, gate, drop"
LAYOUTS = {"nchw": "C x H x W", "nhwc": "H x W x C", "tokens": "N x C", "channels": "C x N", "windows": "windows x C"}


@dataclass
class _Part:
    """A row of the tree with the rows below it."""

    name: str
    cells: tuple[str, ...] = ()
    below: list["_Part"] = field(default_factory=list)

    @property
    def content(self) -> tuple[Any, ...]:
        """Equal for parts that differ in their own name only."""
        return self.cells, tuple((part.name, part.content) for part in self.below)


def show_sites(model: str, shape: tuple[int, int, int] | None, weights: str | None) -> None:
    """Every site with kind, input, parameters and MACs, by default at the size of the weights' images, or the model's.

    Raises UnknownName, SpecError if the model cannot run on the meta device, StudyError for weights that do not fit.
    """
    if not timm.is_model(model):
        raise unknown("timm model", model, timm.list_models())
    source = named_weights(model, weights)
    known = None if source is None else described(model, source)
    channels, height, width = shape or (known.images.shape if known else default_size(model))
    task = Task.image(channels, height, width, classes=known.classes if known else 1000)
    plan = make_plan({"op": "timm", "model": model, "weights": source}, task)
    if known:
        plan.host.check_start(plan)
    sites = find_sites(model, (channels, height, width))
    counts = cost(build_plan(plan, device="meta"), (channels, height, width)).by_module
    title = f"{model}: {len(sites.found)} sites for images of {channels} x {height} x {width}"
    heads = Column("site"), Column("kind"), Column("input"), Column("axes", spare=1)
    grid = Grid(*heads, Column("parameters", right=True), Column("MACs", right=True), title=title)
    for depth, part in _rows(_tree(sites.found, counts)):
        grid.add("  " * depth + part.name, *part.cells)
    grid.print()
    legend = Grid(Column("kind"), Column("may stand there, beside keep", wraps=True))
    kinds = {site.kind for site in sites.found.values()}
    for kind in filter(kinds.__contains__, SITE_KINDS):
        legend.add(kind, MAY_STAND.get(kind, COMMON))
    legend.print()
    console.print("No block or gate fits windows, nor a block where the module is called with a mask (*).")


def _tree(sites: Mapping[str, Site], counts: Mapping[str, Counts]) -> list[_Part]:
    top = _Part("")
    places = {"": top}
    for path, site in sites.items():
        names = path.split(".")
        for depth in range(len(names)):
            here = ".".join(names[: depth + 1])
            if here not in places:
                places[here] = _Part(names[depth])
                places[".".join(names[:depth])].below.append(places[here])
        shape = " x ".join(map(str, site.shape)) + "*" * site.masked
        places[path].cells = (
            site.kind, shape, _axes(site), f"{site.params:,}", f"{counts[path].macs:,}",
        )  # fmt: skip
    return top.below


def _axes(site: Site) -> str:
    return "C" if len(site.shape) == 1 else LAYOUTS.get(site.layout or "", "unknown")


def _rows(parts: list[_Part], depth: int = 0) -> Iterator[tuple[int, _Part]]:
    """The parts with their depth; a run of equal ones is one, under its first and last name."""
    index = 0
    while index < len(parts):
        first, end = parts[index], index + 1
        while end < len(parts) and first.name.isdigit() and parts[end].content == first.content:
            end += 1
        name = first.name if end == index + 1 else f"{first.name}-{parts[end - 1].name}"
        shown = _Part(name, first.cells, first.below)
        while not shown.cells and len(shown.below) == 1:  # a module that is no site, around one
            inner = shown.below[0]
            shown = _Part(f"{shown.name}.{inner.name}", inner.cells, inner.below)
        yield depth, shown
        yield from _rows(shown.below, depth + 1)
        index = end
