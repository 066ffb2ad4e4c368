"""A key of MLflow's tags and a name of Optuna's attributes is written in one place."""

import ast
import re
from pathlib import Path

import pytest

import hadnas
from hadnas.measure.figures import TABLE, constraints
from hadnas.shell.commands.search import search_command
from hadnas.store.records import Costs
from hadnas.track import keys

PACKAGE = Path(hadnas.__file__).parent
TAGS = [
    value
    for value in vars(keys).values()
    if isinstance(value, str) and re.match(r"(hadnas|optuna|mlflow)\.\w+$", value)
]
ATTRIBUTES = ("user_attrs", "set_user_attr")


def strings(tree: ast.AST) -> list[str]:
    """The string constants of a file, docstrings apart."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in told]
    return [node.value for node in constants if isinstance(node.value, str)]


def attributes(tree: ast.AST) -> list[str]:
    """The names of attributes that a file reads or sets by a string of its own."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            asked, key = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            asked, key = (node.func.value if node.func.attr == "get" else node.func), node.args[0]
        else:
            continue
        if isinstance(asked, ast.Attribute) and asked.attr in ATTRIBUTES and isinstance(key, ast.Constant):
            found.append(str(key.value))
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_keys_are_constants(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert attributes(tree) == []
    if path.name != "keys.py":
        written = [text for text in strings(tree) if any(re.search(rf"{re.escape(tag)}\b", text) for tag in TAGS)]
        assert written == []


def test_what_the_test_above_looks_for() -> None:
    assert len(TAGS) >= 12 and "hadnas.kind" in TAGS and "mlflow.parentRunId" in TAGS
    code = "a.user_attrs['b']; a.user_attrs.get('c'); a.set_user_attr('d', 1); a.user_attrs[E]; a.get('f'); f('tag')"
    tree = ast.parse(code)
    assert sorted(attributes(tree)) == ["b", "c", "d"] and "tag" in strings(tree)


def test_every_cost_of_the_ledger_is_a_figure() -> None:
    assert set(Costs.__dataclass_fields__) <= {figure.name for figure in constraints()}
    assert [name for name, figure in TABLE.items() if name != figure.name] == []


def test_every_constraint_is_an_option_of_the_search() -> None:
    names = [parameter.name for parameter in search_command.params]
    assert len(names) == len(set(names)) and {"max_macs", "max_params", "max_latency", "max_latency_ratio"} <= set(
        names
    )
    assert sum(str(name).startswith("max_") for name in names) == len(constraints())
