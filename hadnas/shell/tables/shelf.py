"""Prints blocks, search spaces, studies, architectures and the findings about user-defined ops."""

import inspect
import json
from typing import Any

from rich.syntax import Syntax
from rich.table import Table

from hadnas.arch.families import families_texts
from hadnas.arch.node import Arch
from hadnas.blocks.registry import Op, ops
from hadnas.errors import UnknownName, unknown
from hadnas.library import load, shipped
from hadnas.paths import as_path
from hadnas.shell.tables import console
from hadnas.space import size
from hadnas.space.data import as_data
from hadnas.store.study import Study


def show_shelf(what: str | None) -> None:
    """Blocks by family, search spaces with their sizes, studies and published networks."""
    if what in (None, "blocks"):
        table = Table("op", "role", "family", "meaning", title="Ops", title_justify="left", box=None)
        for op in sorted(ops().values(), key=_op_order):
            table.add_row(op.name, ", ".join(op.roles), op.family or "", op.summary)
        console.print(table)
    if what in (None, "spaces"):
        table = Table("search space", "assignments", "question", title="Search spaces", title_justify="left", box=None)
        for name in shipped("search_spaces"):
            space = load(f"search_spaces/{name}")
            table.add_row(name, f"{size(space):,}", _first_line(f"hadnas.search_spaces.{name}"))
        console.print(table)
        if shipped("published"):
            console.print("Published networks: " + ", ".join(shipped("published")))
    if what in (None, "studies"):
        table = Table("study", "data", "budget", "experiment", title="Studies", title_justify="left", box=None)
        for name in shipped("studies"):
            study = load(f"studies/{name}")
            table.add_row(name, study.data.source, str(study.trials), _first_line(f"hadnas.studies.{name}"))
        console.print(table)


def show_item(name: str) -> None:
    """A block with its options, a space with its choices, a study with its settings, or an architecture as a tree."""
    if name in ops():
        show_op(ops()[name])
        return
    try:
        found = load(name)
    except UnknownName as error:
        if name.endswith((".py", ".json")) or as_path(name).is_dir():
            raise
        known = [*ops(), *(item for kind in ("studies", "search_spaces", "published") for item in shipped(kind))]
        raise unknown("block, study, search space or architecture", name, dict.fromkeys(known)) from error
    if isinstance(found, Arch):
        console.print(found.tree())
        blocks, merges = families_texts(found)
        console.print(f"fingerprint {found.fingerprint}; blocks {blocks}; merges {merges}")
    elif isinstance(found, Study):
        data = json.loads(found.model_dump_json(exclude={"space", "baselines"}))
        console.print_json(json.dumps({**data, "baselines": found.baselines and list(found.baselines)}))
        _show_space(found.space)
    else:
        _show_space(found)


def show_op(op: Op) -> None:
    """An op's docstring and its slots with types and defaults."""
    console.print(f"{op.name} ({', '.join(op.roles)}{', ' + op.family if op.family else ''})", style="bold")
    console.print(inspect.getdoc(op.cls) or "")
    table = Table("option", "type", "default", box=None)
    for slot in op.slots.values():
        kind = " or ".join(slot.roles) if slot.roles else inspect.formatannotation(slot.type).replace("typing.", "")
        default = "required" if slot.default is inspect.Parameter.empty else repr(slot.default)
        table.add_row(slot.name, kind, default)
    console.print(table)


def show_findings(name: str, findings: list[str]) -> None:
    """The findings about an op, one per line."""
    console.print(f"{name}: {'satisfies the contract' if not findings else f'{len(findings)} findings'}", style="bold")
    for finding in findings:
        console.print(f"  {finding}")


def _show_space(space: dict[str, Any]) -> None:
    console.print(f"search space of {size(space):,} assignments")
    console.print(Syntax(json.dumps(as_data(space), indent=1), "json", background_color="default", word_wrap=True))


def _first_line(module: str) -> str:
    import importlib

    return (inspect.getdoc(importlib.import_module(module)) or "").partition("\n")[0]


def _op_order(op: Op) -> tuple[int, str, str]:
    order = ("block", "merge", "residual", "stem", "down", "head", "host")
    return order.index(op.roles[0]) if op.roles[0] in order else len(order), op.family or "", op.name
