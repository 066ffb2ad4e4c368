"""The text of an architecture: runs as loops, and a hash of the code behind it."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from hadnas.errors import BuildError
from hadnas.exporter.module import model_source
from hadnas.library import own_ops
from hadnas.models.arch import Arch
from hadnas.models.complete import complete
from hadnas.models.source import code_hash, hash_of, repeats
from hadnas.models.task import Task
from hadnas.space import op
from tests.networks import block_file, pyramid, residual

DIGITS = Task.image(1, 8, 8, classes=10)


def test_runs_of_equal_blocks_become_loops() -> None:
    arch = complete(pyramid((8, [residual(op("star"))] * 3), (16, [residual(op("star")), *[residual(op("mlp"))] * 2])))
    text = model_source(arch, DIGITS, {})
    assert "for _ in range(3)" in text and "for _ in range(2)" in text
    assert text.count("class Star(") == 1 and "class GnConv" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_runs_of_equal_pairs_become_loops() -> None:
    """Mixer and feed-forward, as in every MetaFormer, each pair once in the text and in order in the network."""
    pair = [residual(op("star")), residual(op("mlp"))]
    arch = complete(pyramid((8, [residual(op("basic")), *pair * 9, residual(op("basic"))])), DIGITS)
    text = model_source(arch, DIGITS, {})
    assert "for _ in range(9)" in text and "for block in (" in text
    assert text.count("block=Star(8") == 1 and text.count("block=Mlp(8") == 1
    known: dict[str, Any] = {"__name__": "paired", "__file__": "model.py"}
    exec(text.replace("@register_model", ""), known)
    blocks = [type(block.block).__name__ for block in known["build_model"]().stages[0].blocks]
    assert blocks == ["Basic", *["Star", "Mlp"] * 9, "Basic"]


@pytest.mark.parametrize(
    ("items", "groups"),
    [
        ("", []),
        ("a", [("a", 1)]),
        ("aaa", [("a", 3)]),
        ("ababab", [("ab", 3)]),
        ("aabaab", [("aab", 2)]),
        ("ababb", [("ab", 2), ("b", 1)]),
        ("abcabd", [("a", 1), ("b", 1), ("c", 1), ("a", 1), ("b", 1), ("d", 1)]),
        ("xaaaay", [("x", 1), ("a", 4), ("y", 1)]),
    ],
)
def test_repeats_cover_what_was_given(items: str, groups: list[tuple[str, int]]) -> None:
    assert [("".join(group), times) for group, times in repeats(items)] == groups


def test_code_hash_follows_the_classes_that_are_used() -> None:
    star, mlp = (complete(pyramid((8, [residual(op(name))]))) for name in ("star", "mlp"))
    wide = complete(pyramid((8, [residual(op("star", expand=2))])))
    assert code_hash(star, DIGITS) == code_hash(wide, DIGITS) != code_hash(mlp, DIGITS)


def test_code_hash_passes_over_docstrings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edited line of code is a new block; an edited docstring is the same one."""
    text = '''
import torch


class Block(torch.nn.Module):
    """One line."""

    def forward(self, x):
        "Two."
        return x * 2
'''
    longer = text.replace("One line.", "Lines\n\n    of another text.").replace('"Two."', '"""Twice."""')
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for name, code in {"said": text, "said_otherwise": longer, "edited": text.replace("* 2", "* 3")}.items():
        (tmp_path / f"{name}.py").write_text(code)
        found.append(hash_of(frozenset({importlib.import_module(name).Block})))
    assert found[0] == found[1] != found[2]


def own_network(path: Path, name: str, text: str, beside: str) -> Arch:
    """A network of a block of one's own and one of hadnas's."""
    path.write_text(text)
    own_ops(path)
    return complete(pyramid((8, [residual(op(name)), residual(op(beside))])), DIGITS)


def test_one_name_for_two_things_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    """A block that takes timm's Mlp, in a network that also has the block Mlp."""
    text = block_file("Renaming").replace("from torch import", "from timm.layers import Mlp\nfrom torch import", 1)
    text = text.replace("nn.Conv2d(dim, dim, 1,", "Mlp(dim, use_conv=True,")
    arch = own_network(tmp_path / "renaming.py", "renaming", text, "mlp")
    said = r"Mlp is defined in hadnas.blocks.mlp and what \S+ gets by `from timm.layers import Mlp`; rename one"
    for take in (code_hash, lambda arch, task: model_source(arch, task, {})):
        with pytest.raises(BuildError, match=said):
            take(arch, DIGITS)


def test_one_thing_that_two_files_import_in_two_ways_is_imported_once(tmp_path: Path) -> None:
    text = block_file("Rectified").replace("from torch import", "import torch.nn.functional as F\nfrom torch import", 1)
    text = text.replace("2 * self.conv(x)", "F.relu(self.conv(x))")
    source = model_source(own_network(tmp_path / "rectified.py", "rectified", text, "hydra"), DIGITS, {})
    assert source.count("functional as F") == 1 and source.count("F.") > 1
