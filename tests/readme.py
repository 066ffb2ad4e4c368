"""Writes the generated tables of the README: `python -m tests.readme`."""

import inspect
import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import hadnas
from hadnas.blocks.registry import ops
from hadnas.library import load, shipped
from hadnas.measure.cost import Cost
from hadnas.measure.figures import TABLE
from hadnas.space import size

README = Path(__file__).parent.parent / "README.md"
ROLES = ("block", "merge", "residual", "stem", "down", "head", "host")


def ops_table() -> str:
    """Every op, blocks first, with the first line of its docstring and its source."""
    rows = ["| op | role | family | what it is | source |", "|---|---|---|---|---|"]
    own = [op for op in ops().values() if op.cls.__module__.startswith("hadnas.")]  # not what a test registered
    for op in sorted(own, key=lambda op: (ROLES.index(op.roles[0]), op.family or "", op.name)):
        cells = (f"`{op.name}`", ", ".join(op.roles), op.family or "", op.summary, _source(op.cls.__doc__ or ""))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def figures_table() -> str:
    """Every figure with its unit, its direction where it may be an objective, and what it is."""
    rows = ["| figure | unit | objective | what it is |", "|---|---|---|---|"]
    for figure in TABLE.values():
        rows.append(f"| `{figure.name}` | {figure.unit} | {figure.direction or ''} | {figure.about} |")
    return "\n".join(rows)


def shelf_table() -> str:
    """Search spaces and studies with the first line of their docstrings."""
    rows = ["| search space | assignments | question |", "|---|---|---|"]
    for name in shipped("search_spaces"):
        count = size(load(f"search_spaces/{name}"))
        rows.append(f"| `{name}` | {count:.3g} | {_first_line(f'hadnas.search_spaces.{name}')} |")
    rows += ["", "| study | data | budget | experiment |", "|---|---|---|---|"]
    for name in shipped("studies"):
        study = load(f"studies/{name}")
        rows.append(f"| `{name}` | {study.data.source} | {study.trials} | {_first_line(f'hadnas.studies.{name}')} |")
    return "\n".join(rows)


def published_table() -> str:
    """Published networks with their size at 3 x 224 x 224 and 1,000 classes."""
    rows = ["| network | parameters | MACs | element-wise products |", "|---|---|---|---|"]
    task = hadnas.Task.image(3, 224, 224, classes=1000)
    for name in shipped("published"):
        rows.append(published_row(name, hadnas.cost(hadnas.build(hadnas.load(name), task, device="meta"), task.shape)))
    return "\n".join(rows)


def published_row(name: str, cost: Cost) -> str:
    """One network of the table; test_published, which counts them all, finds it in the README."""
    return f"| `{name}` | {cost.params:,} | {cost.macs:,} | {cost.products:,} |"


def _source(doc: str) -> str:
    found = re.search(r"arXiv (\d{4}\.\d{4,5})", doc)
    return f"[{found[1]}](https://arxiv.org/abs/{found[1]})" if found else ""


def _first_line(module: str) -> str:
    return (inspect.getdoc(import_module(module)) or "").partition("\n")[0]


TABLES = {"figures": figures_table, "ops": ops_table, "shelf": shelf_table, "published": published_table}


def written(text: str, names: Iterable[str] = TABLES) -> str:
    """`text` with its generated parts written anew."""
    for name in names:
        part = rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- /{name} -->)"
        text = re.sub(part, rf"\g<1>{TABLES[name]()}\n\g<2>", text, flags=re.S)
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
