"""The hash of code: of what the code does, whatever it looks like."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from hadnas.arch.task import Task
from hadnas.hosts.host import make_plan
from hadnas.hosts.pyramid import Pyramid
from hadnas.source.trace import hash_of
from hadnas.space import op
from tests.networks import pyramid, residual

DIGITS = Task.image(1, 8, 8, classes=10)


def test_code_hash_follows_the_classes_that_are_used() -> None:
    parts = (op("star"), op("star", expand=2), op("mlp"))
    star, wide, mlp = (hash_of(make_plan(pyramid((8, [residual(part)])), DIGITS).classes) for part in parts)
    assert star == wide != mlp


BLOCK = '''
import torch

FACTOR = 2


class Block(torch.nn.Module):
    """One line."""

    def forward(self, x, power=1):
        "Two."
        return scaled(x * FACTOR) ** power


def scaled(x):
    return x
'''
SAME = {
    "docstring": ("One line.", "Lines\n\n    of another text."),
    "no docstring": ('        "Two."\n', ""),
    "note": ("        return scaled", '        "A note in the midst."\n        return scaled'),
    "comment": ("FACTOR = 2", "FACTOR = 2  # of the map\n# and a line"),
    "format": (
        "def forward(self, x, power=1):",
        "def forward(\n        self,\n        x,\n        power = 1,\n    ):\n",
    ),
    "brackets": ("x * FACTOR", "(x * (FACTOR))"),
}
OTHER = {
    "factor": ("FACTOR = 2", "FACTOR = 3"),
    "float": ("FACTOR = 2", "FACTOR = 2.0"),
    "none": ("FACTOR = 2", "FACTOR = None"),
    "order": ("x * FACTOR", "FACTOR * x"),
    "default": ("power=1", "power=None"),
    "no default": ("power=1", "power"),
    "below": ("    return x\n", "    return x + 0\n"),
    "nothing": ("return scaled(x * FACTOR) ** power", "return"),
}


@pytest.mark.parametrize("edit", ["", *SAME, *OTHER])
def test_the_hash_of_code_is_of_what_it_does(edit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edited line of code is a new block; an edited docstring, comment or line break is the same one."""
    before, after = {**SAME, **OTHER, "": ("", "")}[edit]
    assert before in BLOCK
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for name, text in {"plain": BLOCK, "edited": BLOCK.replace(before, after, 1)}.items():
        module = f"{name}_{edit.replace(' ', '_')}_block"
        (tmp_path / f"{module}.py").write_text(text)
        found.append(hash_of(frozenset({importlib.import_module(module).Block})))
    assert (found[0] == found[1]) == (edit not in OTHER)


def test_a_comment_in_a_shipped_file_changes_no_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pyramid written anew by `ast`, without its comments, in another style, a comment above every method."""
    monkeypatch.syspath_prepend(str(tmp_path))
    tree = ast.parse(Path(inspect.getsourcefile(Pyramid) or "").read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            node.decorator_list = []  # it would be registered a second time
    text = ast.unparse(tree).replace("\n    def ", "\n    # a comment\n    def ")
    (tmp_path / "pyramid_again.py").write_text(text)
    again = importlib.import_module("pyramid_again").Pyramid
    assert again is not Pyramid and hash_of(frozenset({again})) == hash_of(frozenset({Pyramid}))


@pytest.mark.parametrize("odd", ["\x0c", "# a \x85 b", "# a \u2028 b"])
def test_an_edit_is_seen_below_what_python_takes_for_part_of_a_line(
    odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`str.splitlines` ends a line at a form feed, Python does not: the last line of the class was cut off."""
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = []
    for edited in ("", "edited"):
        name = f"odd{ord(odd[-3:][0])}{edited}"
        method = f"    def forward(self, x):\n        return x{' * 2' * bool(edited)}\n"
        code = f"import torch\n{odd}\n\n\nclass Block(torch.nn.Module):\n{method}"
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        hashes.append(hash_of(frozenset({importlib.import_module(name).Block})))
    assert hashes[0] != hashes[1]


def test_the_hash_of_a_code_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ledger holds such hashes: were they computed otherwise, all that was trained would be trained again."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "kept.py").write_text(
        "import torch\n\nFACTOR = 2\n\n\nclass Block(torch.nn.Module):\n"
        '    """A docstring."""\n\n    def forward(self, x):\n        return FACTOR * x\n'
    )
    assert hash_of(frozenset({importlib.import_module("kept").Block})) == "f85d612a430638b8"
