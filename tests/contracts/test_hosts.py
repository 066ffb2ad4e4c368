"""A host is one file, and nothing outside `hosts/` asks which host an architecture has."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

import hadnas
from hadnas.arch.diagram import diagram
from hadnas.arch.families import families_texts
from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.contract.check import check_op
from hadnas.errors import SpecError
from hadnas.hosts.host import Host, make_plan
from hadnas.library import load_ops
from hadnas.source.module import plan_source
from hadnas.source.trace import hash_of
from hadnas.space import one_of, op
from tests.networks import pyramid

PACKAGE = Path(hadnas.__file__).parent
DIGITS = Task.image(1, 8, 8, classes=10)

FLAT = '''
from typing import Any

from torch import Tensor, nn

from hadnas import register
from hadnas.arch.read import Call, Node, Place, checked_values, read_list
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op
from hadnas.hosts.host import Host


class FlatHost(Host):
    """Blocks of one width at the resolution of the input."""

    def read(self, node: Node, task: Task | None) -> tuple[Node, Call]:
        op = find_op(node["op"])
        values = checked_values(op, node)
        channels, *size = task.shape if task is not None else (3,)
        classes = task.outputs if task is not None else 1000
        place = Place(values["width"], values["width"], tuple(size) or None, classes)
        blocks, calls = read_list(values["blocks"], ("block", "residual"), place, "blocks")
        given = {**values, "blocks": calls, "in_chans": channels, "num_classes": classes}
        return {"op": op.name, **values, "blocks": blocks}, Call(op.name, op.cls, (), given)


@register("host", children={"blocks": ("block", "residual")}, host=FlatHost())
class Flat(nn.Module):
    """A pointwise convolution, blocks of its width, and a classifier of the means."""

    def __init__(
        self,
        *,
        blocks: list[nn.Module],
        width: int = 8,
        in_chans: int = 3,
        num_classes: int = 1000,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.first = nn.Conv2d(in_chans, width, 1, device=device, dtype=dtype)
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(width, num_classes, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(self.first(x)).mean((2, 3)))
'''
SPACE = op("flat", width=one_of(4, 8), blocks=[op("star", expand=2), op("conv_next")])


@pytest.mark.usefixtures("own_registry")
def test_one_file_is_enough_for_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sampled, counted, drawn, built, costed and exported; the export reads the architecture once."""
    (tmp_path / "flat.py").write_text(FLAT)
    (own,) = load_ops(tmp_path / "flat.py")
    arch = hadnas.sample(SPACE, DIGITS)
    assert complete(arch.node, DIGITS) == arch and arch.node["blocks"][0]["expand"] == 2
    with pytest.raises(SpecError, match="width"):
        complete({**SPACE, "width": 8.5}, DIGITS)
    assert families_texts(arch)[0] == "H1 A0 C1 T0" and arch.stages == []
    assert ">flat<" in diagram(arch) and len(hash_of(make_plan(arch, DIGITS).classes)) == 16

    network = hadnas.build(arch, DIGITS)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert hadnas.build(arch, DIGITS, num_classes=3)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    width = arch.node["width"]
    own_macs = 64 * width + width * 10  # without its blocks
    alone = complete({**arch.node, "blocks": []}, DIGITS)
    assert hadnas.cost(hadnas.build(alone, DIGITS, device="meta"), DIGITS.shape).macs == own_macs
    assert check_op(own) == []

    read = readings(monkeypatch, type(own.host))
    moments = ((0.3,), (0.2,))
    folder = hadnas.export(arch, DIGITS, tmp_path / "out", moments=moments, class_names=list("abcdefghij"))
    assert read == [arch.fingerprint]
    assert "class FlatHost" not in (folder / "model.py").read_text()
    assert hadnas.load(folder) == arch and "features_only" in (folder / "README.md").read_text()


def readings(monkeypatch: pytest.MonkeyPatch, host: type[Host]) -> list[str]:
    """The fingerprint of every architecture that a host reads from now on."""
    found: list[str] = []
    real = host.read

    def noted(self: Host, node: dict[str, Any], task: Task | None) -> Any:
        completed, call = real(self, node, task)
        found.append(Arch(completed).fingerprint)
        return completed, call

    monkeypatch.setattr(host, "read", noted)
    return found


CELLS = op(
    "cell_pyramid",
    stem=op("conv_norm", dim=8),
    stages=[{"dim": 8, "down": op("separable_conv"), "blocks": [op("cell", merge=op("product"), blocks=[op("star")])]}],
    head=op("pooled_linear"),
)


@pytest.mark.parametrize("node", [pyramid((8, [op("star")])), op("timm", model="test_resnet"), CELLS])
def test_a_draw_and_an_architecture_give_one_plan(node: dict[str, Any]) -> None:
    arch = complete(node, DIGITS)
    drawn, again = make_plan(node, DIGITS), make_plan(arch, DIGITS)
    assert drawn == again and drawn.arch == arch and again.arch is arch
    assert plan_source(make_plan(arch, DIGITS), {}) == plan_source(drawn, {})


def test_an_architecture_of_an_unknown_host_is_shown_as_data() -> None:
    arch = Arch({"op": "of_a_file", "stages": [{"blocks": [{"op": "star"}]}], "model": "x"})
    assert arch.host is None and arch.stages == [] and ">of_a_file<" in diagram(arch)
    assert families_texts(Arch({"op": "of_a_file"}))[0] == "-"


PARTS = {"stages", "stem", "head"}
"""Keys of a pyramid's node."""


def asks(tree: ast.AST) -> list[str]:
    """Expressions that look into a host's node, or at the kind of a call's class, to know which host it is."""
    found = []
    for node in ast.walk(tree):
        looked: list[ast.expr] = []
        if isinstance(node, ast.Subscript):
            looked = [node.slice]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            looked = [] if ast.unparse(node.comparators[0]).endswith(".roles") else [node.left]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
            looked = node.args[:1]
        kind = isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance" and ".cls" in ast.unparse(node)
        if kind or any(isinstance(part, ast.Constant) and part.value in PARTS for part in looked):
            found.append(ast.unparse(node))
    return found


def test_nothing_outside_asks_which_host_it_is() -> None:
    for text in ('node["stages"]', '"stem" in node', 'node.get("head", {})', "isinstance(call.cls, type)"):
        assert asks(ast.parse(text)), text
    assert any(asks(ast.parse(path.read_text())) for path in (PACKAGE / "hosts").glob("*.py"))
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] != "hosts":
            assert not asks(ast.parse(path.read_text())), path


def test_blocks_name_no_host_by_its_module() -> None:
    for path in (PACKAGE / "blocks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            assert not named.startswith("hadnas.hosts."), f"{path} names {named}"
