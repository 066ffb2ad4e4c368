"""The text of an architecture: runs as loops, and what it takes over from files of the user."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.blocks.registry import ops
from hadnas.errors import BuildError
from hadnas.hosts.build import build_seeded, save_weights, trained
from hadnas.hosts.expression import repeats
from hadnas.hosts.host import make_plan
from hadnas.library import load_ops
from hadnas.retraining import retrain
from hadnas.source.module import needed, plan_source
from hadnas.source.trace import hash_of
from hadnas.space import op
from hadnas.train.data.spec import load_data
from tests.networks import block_file, pyramid, residual

DIGITS = Task.image(1, 8, 8, classes=10)


def test_runs_of_equal_blocks_become_loops() -> None:
    arch = complete(pyramid((8, [residual(op("star"))] * 3), (16, [residual(op("star")), *[residual(op("mlp"))] * 2])))
    text = plan_source(make_plan(arch, DIGITS), {})
    assert "for _ in range(3)" in text and "for _ in range(2)" in text
    assert text.count("class Star(") == 1 and "class GnConv" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_runs_of_equal_pairs_become_loops() -> None:
    """Mixer and feed-forward, as in every MetaFormer, each pair once in the text and in order in the network."""
    pair = [residual(op("star")), residual(op("mlp"))]
    arch = complete(pyramid((8, [residual(op("basic")), *pair * 9, residual(op("basic"))])), DIGITS)
    text = plan_source(make_plan(arch, DIGITS), {})
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


def own_network(path: Path, name: str, text: str, beside: str) -> Arch:
    """A network of a block of one's own and one of hadnas's."""
    path.write_text(text)
    load_ops(path)
    return complete(pyramid((8, [residual(op(name)), residual(op(beside))])), DIGITS)


def test_one_name_for_two_things_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    """A block that takes timm's Mlp, in a network that also has the block Mlp."""
    text = block_file("Renaming").replace("from torch import", "from timm.layers import Mlp\nfrom torch import", 1)
    text = text.replace("nn.Conv2d(dim, dim, 1,", "Mlp(dim, use_conv=True,")
    arch = own_network(tmp_path / "renaming.py", "renaming", text, "mlp")
    said = r"Mlp .*hadnas\.blocks\.mlp .*`from timm\.layers import Mlp`"
    plan = make_plan(arch, DIGITS)
    with pytest.raises(BuildError, match=said):
        hash_of(plan.classes)
    with pytest.raises(BuildError, match=said):
        plan_source(plan, {})


def test_one_thing_that_two_files_import_in_two_ways_is_imported_once(tmp_path: Path) -> None:
    text = block_file("Rectified").replace("from torch import", "import torch.nn.functional as F\nfrom torch import", 1)
    text = text.replace("2 * self.conv(x)", "F.relu(self.conv(x))")
    source = plan_source(make_plan(own_network(tmp_path / "rectified.py", "rectified", text, "hydra"), DIGITS), {})
    assert source.count("functional as F") == 1 and source.count("F.") > 1


OTHER_FILE = """
KERNEL, PAD = 3, 1


def doubled(x):
    return 2 * x
"""


def test_what_a_block_takes_from_a_file_of_ones_own_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, also where one statement binds two names; and it is a part of the code's hash."""
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = []
    for name, code in {"shared": OTHER_FILE, "reshared": OTHER_FILE.replace("3, 1", "5, 2")}.items():
        (tmp_path / f"{name}.py").write_text(code)
        text = block_file(name.title()).replace("from torch", f"from {name} import KERNEL, PAD, doubled\nfrom torch", 1)
        text = text.replace("dim, dim, 1,", "dim, dim, KERNEL, padding=PAD,").replace("2 * self", "doubled(self")
        arch = own_network(tmp_path / f"{name}_block.py", name, text.replace("conv(x)", "conv(x))"), "mlp")
        source = plan_source(make_plan(arch, DIGITS), {})
        assert source.count("KERNEL, PAD = ") == 1 and "def doubled(x):" in source and f"import {name}" not in source
        hashes.append(hash_of(frozenset({ops()[name].cls})))
    assert hashes[0] != hashes[1]


OWN_STYLE = """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor as Ten


def round(l: "Ten") -> "Ten":
    unused = l.shape
    return 3 * l
"""


def test_code_of_ones_own_keeps_its_style_and_its_names(tmp_path: Path) -> None:
    """A builtin's name that it defines itself is its own, and so hashed; what only a style guide minds is no fault."""
    hashes = []
    for name, style in {"styled": OWN_STYLE, "restyled": OWN_STYLE.replace("3 * l", "4 * l")}.items():
        text = block_file(name.title()).replace("\n\n@block", f"{style}\n\n@block").replace("2 * self", "round(self")
        arch = own_network(tmp_path / f"{name}.py", name, text.replace("conv(x)", "conv(x))"), "mlp")
        source = plan_source(make_plan(arch, DIGITS), {})
        assert "def round(l:" in source and "import Tensor as Ten" in source
        compile(source, "model.py", "exec")
        hashes.append(hash_of(frozenset({ops()[name].cls})))
    assert hashes[0] != hashes[1]


def test_weights_under_two_names_are_kept_under_both(tmp_path: Path) -> None:
    text = block_file("Tied").replace("    def forward", "        self.again = self.conv\n\n    def forward")
    arch = own_network(tmp_path / "tied.py", "tied", text, "mlp")
    network = build_seeded(make_plan(arch, DIGITS), 0).eval()
    save_weights(network, tmp_path / "tied.safetensors")
    x = torch.randn(2, *DIGITS.shape)
    assert torch.equal(trained(make_plan(arch, DIGITS), tmp_path / "tied.safetensors")(x), network(x))


def test_an_installed_package_that_a_block_imports_is_named(tmp_path: Path) -> None:
    text = block_file("Packaged").replace("from torch", "import scipy.special\nfrom torch", 1)
    text = text.replace("2 * self", "scipy.special.binom(2, 1) * self")
    arch = own_network(tmp_path / "packaged.py", "packaged", text, "mlp")
    assert needed(make_plan(arch, DIGITS)) == ["torch", "timm", "scipy"]
    assert "needs torch, timm and scipy only" in plan_source(make_plan(arch, DIGITS), {})


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("nested", "if True:\n    FACTOR = 2\n", "FACTOR"),
        ("starred", "from factors import *\n", "FACTOR"),
        ("whole", "import factors\nFACTOR = factors.FACTOR\n", "factors whole"),
        ("item", "FACTOR = [2]\nFACTOR[0] = 3\n", r"FACTOR .*line \d+ .*changed .*line \d+"),
        ("appended", "FACTOR = []\nFACTOR.append(3)\n", r"FACTOR .*line \d+ .*changed .*line \d+"),
        ("twice", "FACTOR = 2\nFACTOR = 3\n", r"FACTOR .*lines \d+ and \d+; .*once"),
        ("grown", "FACTOR = 2\nFACTOR += 1\n", r"FACTOR .*lines \d+ and \d+; .*once"),
        (
            "entry",
            "def build_model():\n    return 2\n\n\nFACTOR = build_model()\n",
            "build_model",
        ),
        ("renamed", "from factors import FACTOR as F\nFACTOR = F\n", "FACTOR as F"),
    ],
)
def test_code_that_could_not_be_written_down_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str, said: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "factors.py").write_text("FACTOR = 2\n")
    text = block_file(name.title()).replace("\n\n@block", f"\n{line}\n\n@block").replace("2 * self", "FACTOR * self")
    arch = own_network(tmp_path / f"{name}.py", name, text, "mlp")
    with pytest.raises(BuildError, match=said):
        hash_of(make_plan(arch, DIGITS).classes)
    with pytest.raises(BuildError, match=said):  # not after the epochs
        retrain(arch, load_data("digits"), on_epoch=lambda epoch: pytest.fail("it was trained"))


def test_values_of_literals_and_local_names_are_not_followed(tmp_path: Path) -> None:
    text = block_file("Scoped").replace("import Any", "import Any, Literal")
    text = text.replace("*, device", '*, scope: Literal["global", "3x3"] = "global", device')
    text = text.replace("\n\n@block", "\ndim = 8\ndim = 16\nb = dim\nb += 1\n\n@block")
    text = text.replace("return 2 * self.conv(x)", "b = self.conv(x)\n        return 2 * b")
    arch = own_network(tmp_path / "scoped.py", "scoped", text, "mlp")
    source = plan_source(make_plan(arch, DIGITS), {})
    assert "dim = 8" not in source and len(hash_of(make_plan(arch, DIGITS).classes)) == 16
