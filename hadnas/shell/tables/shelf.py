"""Prints blocks, search spaces, studies, architectures and the findings about user-defined ops."""

import inspect
import json
import textwrap
from typing import Any

from hadnas.arch.families import families_texts
from hadnas.arch.node import Arch
from hadnas.blocks.registry import Op, ops
from hadnas.errors import UnknownName, unknown
from hadnas.library import SHELVES, load, shipped
from hadnas.paths import as_path
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid
from hadnas.shell.tables.studies import read_names, show_studies
from hadnas.space import size
from hadnas.space.data import as_data
from hadnas.space.outline import outline
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.store.study_store import stored_study


def show_shelf(what: str | None, home: str | None) -> None:
    """Blocks by family, search spaces with their sizes, published networks and studies, also those of the home."""
    if what in (None, "blocks"):
        heads = Column("block"), Column("role"), Column("family")
        grid = Grid(*heads, Column("meaning", wraps=True), title="Blocks")
        for op in sorted(ops().values(), key=_op_order):
            grid.add(op.name, ", ".join(op.roles), op.family or "", op.summary)
        grid.print()
    if what in (None, "spaces"):
        heads = Column("search space"), Column("assignments", right=True), Column("question", wraps=True)
        grid = Grid(*heads, title="Search spaces")
        for name in shipped("search_spaces"):
            grid.add(name, f"{size(load(name)):,}", _first_line(f"hadnas.search_spaces.{name}"))
        grid.print()
    if what in (None, "networks"):
        console.print("Published networks", style="bold")
        console.print(", ".join(shipped("published")))
    if what in (None, "studies"):
        heads = Column("study"), Column("data"), Column("budget", right=True)
        grid = Grid(*heads, Column("experiment", wraps=True), title="Studies")
        for name in shipped("studies"):
            study = load(name)
            grid.add(name, study.data.source, str(study.trials), _first_line(f"hadnas.studies.{name}"))
        grid.print()
        if read_names(home):
            show_studies(Home(home, reading=True))
    if what is None:
        console.print("hadnas show NAME prints one; hadnas copy NAME copies a shipped file into this folder, to edit")


def show_item(name: str, home: str | None, *, as_json: bool) -> None:
    """A block with its options, a space as a tree, a study with its settings and its space, or an architecture.

    What is not shipped is looked up among the studies of the home, if there is one.
    as_json: a space, study or architecture as JSON, whole. Raises UnknownName, also for a block as JSON.
    """
    if name in ops() and not as_json:
        show_op(ops()[name])
        return
    try:
        found = load(name)
    except UnknownName as error:
        if name.endswith((".py", ".json")) or as_path(name).is_dir():
            raise
        own = read_names(home)
        if name not in own:
            known = [*ops(), *(item for kind in SHELVES for item in shipped(kind)), *own]
            raise unknown("block, study, search space or architecture", name, dict.fromkeys(known)) from error
        found, _ = stored_study(name, Home(home, reading=True))
    if as_json:
        _show_json(found)
    elif isinstance(found, Arch):
        _show_tree(found.tree())
        blocks, merges = families_texts(found)
        console.print(f"fingerprint {found.fingerprint}; blocks {blocks}; merges {merges}")
    elif isinstance(found, Study):
        _show_settings(found)
        console.print()
        _show_space(found.space)
    else:
        _show_space(found)


def show_op(op: Op) -> None:
    """An op's docstring and its slots with types and defaults."""
    console.print(f"{op.name} ({', '.join(op.roles)}{', ' + op.family if op.family else ''})", style="bold")
    console.print(inspect.getdoc(op.cls) or "")
    grid = Grid(Column("option"), Column("type", wraps=True), Column("default"))
    for slot in op.slots.values():
        kind = " or ".join(slot.roles) if slot.roles else inspect.formatannotation(slot.type).replace("typing.", "")
        default = "required" if slot.default is inspect.Parameter.empty else repr(slot.default)
        grid.add(slot.name, kind, default)
    grid.print()


def show_findings(name: str, findings: list[str]) -> None:
    """The findings about an op, one per line."""
    console.print(f"{name}: {'satisfies the contract' if not findings else f'{len(findings)} findings'}", style="bold")
    for finding in findings:
        console.print(f"  {finding}")


def _show_json(found: Any) -> None:
    if isinstance(found, Arch):
        console.print_json(found.json)
    elif isinstance(found, Study):
        console.print_json(found.model_dump_json())
    else:
        console.print_json(json.dumps(as_data(found)))


def _show_settings(study: Study) -> None:
    """The settings of a study, one in a line; the baselines by name."""
    settings = study.model_dump(exclude={"space", "baselines", "recipe", "data"})
    fields = {"data": study.data, "recipe": study.recipe}
    grid = Grid(Column(), Column(wraps=True), title=f"study {study.name}")
    for name, value in {**settings, **{name: dict(field) for name, field in fields.items()}}.items():
        if name != "name" and value not in ("", {}, [], ()):
            grid.add(name, _text(value))
    names = "three of its size, chosen when it begins" if study.baselines is None else _text(list(study.baselines))
    grid.add("baselines", names or "none")
    grid.print()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _show_space(space: dict[str, Any]) -> None:
    console.print(
        f"search space of {size(space):,} assignments; [n]: those of a part; a..b: whole numbers; a|b: options"
    )
    _show_tree(outline(space))


def _show_tree(tree: str) -> None:
    """Print an indented tree; a line longer than the terminal is continued with more indentation."""
    for line in tree.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 6)
        wrapped = textwrap.wrap(
            line,
            console.width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        console.print("\n".join(wrapped), soft_wrap=True)


def _first_line(module: str) -> str:
    import importlib

    return (inspect.getdoc(importlib.import_module(module)) or "").partition("\n")[0]


def _op_order(op: Op) -> tuple[int, str, str]:
    order = ("block", "masked", "merge", "residual", "cell", "stem", "down", "head", "fusion", "host", "graft")
    return order.index(op.roles[0]) if op.roles[0] in order else len(order), op.family or "", op.name
