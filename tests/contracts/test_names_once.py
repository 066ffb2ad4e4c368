"""A public top-level name of the package is defined in one file, so that it has one meaning."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import hadnas

ROOT = Path(hadnas.__file__).parent

REPEATED = {
    "T": "a type variable has no meaning outside of its file",
    "aten": "torch.ops.aten under torch's own name",
    **dict.fromkeys(
        ("FINGERPRINT", "LATENCY", "REASON", "RUNG", "STUDY"),
        "the key of one fact, in Optuna's attributes and in MLflow's tags",
    ),
}
"""Names that two files define -> the reason."""


def defined(tree: ast.Module) -> Iterator[str]:
    """The public names that the statements of a module bind; imported names are defined elsewhere."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def test_a_public_name_is_defined_in_one_file() -> None:
    files = defaultdict(set)
    for path in sorted(ROOT.rglob("*.py")):
        for name in defined(ast.parse(path.read_text(encoding="utf-8"))):
            files[name].add(path.relative_to(ROOT).as_posix())
    assert len(files) > 500  # the package was found
    repeated = {name: sorted(found) for name, found in files.items() if len(found) > 1}
    assert repeated.keys() - REPEATED.keys() == set(), repeated
    assert REPEATED.keys() - repeated.keys() == set(), "these are defined once: remove them from REPEATED"
