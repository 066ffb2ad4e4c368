"""Private names of libraries stand in one file, or nowhere: they change without a word."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hadnas

PACKAGE = Path(hadnas.__file__).parent
FILES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
LIBRARIES = ("torch", "torchvision", "timm", "optuna", "mlflow", "sqlalchemy")
TORCH = "measure/aten.py"
"""The file that has what hadnas uses of torch and what torch gives no public name."""
ALLOWED = {("hosts/staged.py", "timm.models._features"), ("shell/cli.py", "_exit")}
"""Timm's models know their features by the first, exported ones as well; the second is `os._exit`, documented."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def own_names() -> set[str]:
    """The private names that hadnas defines, and `_replace`, which named tuples document."""
    found = {"_replace"}
    for node in (node for tree in FILES.values() for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def private_names(tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Modules and names that are imported from a library, and attributes that are not ours, also by `getattr`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in LIBRARIES and "._" in a.name)
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in LIBRARIES:
            if any(map(is_private, str(node.module).split("."))):
                yield str(node.module)
            yield from (f"{node.module}.{a.name}" for a in node.names if is_private(a.name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            yield from (text for text in texts if is_private(text) and text not in own)


def test_private_names_of_libraries_stand_in_one_file() -> None:
    own = own_names()
    found = {(place, name) for place, tree in FILES.items() for name in private_names(tree, own) if place != TORCH}
    assert found == ALLOWED
    assert set(private_names(FILES[TORCH], own)) >= {"torch.utils._python_dispatch", "_version", "_cdata", "_orig_mod"}


@pytest.mark.parametrize(
    "code",
    [
        "from torch._subclasses import FakeTensorMode",
        "from torch.nn.modules.batchnorm import _NormBase",
        "import timm.models._features",
        "import torch\ntorch._C.f()",
        "study._storage.f()",
        "getattr(module, '_orig_mod')",
        "from mlflow import a, _b",
    ],
)
def test_a_private_name_is_found(code: str) -> None:
    assert list(private_names(ast.parse(code), own_names()))
