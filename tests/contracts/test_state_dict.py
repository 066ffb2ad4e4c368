"""State outside the state dict is found by `hadnas check`, and before a study trains an op that has some."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from hadnas.arch.task import Task
from hadnas.blocks.registry import block, find_op
from hadnas.contract.check import check_op
from hadnas.contract.user_defined import check_user_defined
from hadnas.errors import StudyError
from hadnas.search.run import run_study
from hadnas.space import one_of, op, repeat
from hadnas.store.study_store import study_names
from tests.homes import new_home, study
from tests.networks import pyramid, residual
from tests.shell import hadnas

pytestmark = pytest.mark.usefixtures("own_registry")


class Kept(nn.Module):
    """A pointwise convolution; its children add state, or what looks like it."""

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)
        self.add(dim, device=device, dtype=dtype)

    def add(self, dim: int, **dd: Any) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Aliases(Kept):
    def add(self, dim: int, **dd: Any) -> None:
        self.parts = [self.conv, nn.GELU()]

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class Constant(Kept):
    def add(self, dim: int, **dd: Any) -> None:
        self.register_buffer("shift", torch.linspace(-1, 1, dim, **dd).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shift


class Listed(Kept):
    def add(self, dim: int, **dd: Any) -> None:
        self.branches = [nn.Conv2d(dim, dim, k, padding=k // 2, **dd) for k in (1, 3, 5)]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(sum(branch(x) for branch in self.branches))


class Nested(Kept):
    def add(self, dim: int, **dd: Any) -> None:
        self.table = {"gains": (nn.Parameter(torch.ones(dim, 1, 1, **dd)), nn.LayerNorm(dim, **dd))}

    def forward(self, x: Tensor) -> Tensor:
        gain, norm = self.table["gains"]
        return self.conv(norm(x.movedim(1, -1)).movedim(-1, 1) * gain)


class Attribute(Constant):
    def add(self, dim: int, **dd: Any) -> None:
        self.shift = torch.randn(dim, 1, 1, **dd)


class Passing(Constant):
    def add(self, dim: int, **dd: Any) -> None:
        self.register_buffer("shift", torch.randn(dim, 1, 1, **dd), persistent=False)


class Closure(Kept):
    def add(self, dim: int, **dd: Any) -> None:
        self.shift = partial(torch.add, torch.randn(dim, 1, 1, **dd))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.shift(x))


class Running(Kept):
    def add(self, dim: int, **dd: Any) -> None:
        self.mean = torch.zeros(dim, 1, 1, **dd)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 2, 3)).view(-1, 1, 1)
        return self.conv(x - self.mean)


class Deaf(Kept):
    def add(self, dim: int, **dd: Any) -> None:
        self.drop = [nn.Dropout(0.5)]  # eval() does not reach it

    def forward(self, x: Tensor) -> Tensor:
        return self.drop[0](self.conv(x))


class Late(Kept):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "late"):
            self.late = nn.Conv2d(x.shape[1], x.shape[1], 1, device=x.device, dtype=x.dtype)
        return self.late(self.conv(x))


UNSAVED = "neither trained, counted nor saved"
UNEQUAL = "two builds under different seeds give unequal outputs with one state dict: state is outside it"
FAULTS: dict[type[nn.Module], str] = {
    Listed: f"branches holds 3 Conv2d outside the state dict: {UNSAVED}",
    Nested: f"table holds 1 Parameter and 1 LayerNorm outside the state dict: {UNSAVED}",
    Attribute: f"{UNEQUAL}, in shift; allowed",
    Passing: f"{UNEQUAL}, in shift; allowed",
    Closure: f"{UNEQUAL}; allowed",
    Running: f"{UNEQUAL}, in mean; allowed",
    Deaf: "two evaluations of one input differ",
    Late: "the state dicts of two builds differ in ['late.weight', 'late.bias']",
}


def registered(cls: type[nn.Module]) -> str:
    name = f"tried_{cls.__name__.lower()}"  # no file of another test defines it
    block(family="convolution", name=name)(cls)
    return name


@pytest.mark.parametrize("cls", [Kept, Aliases, Constant])
def test_what_the_state_dict_decides_is_no_finding(cls: type[nn.Module]) -> None:
    assert check_op(find_op(registered(cls))) == []


@pytest.mark.parametrize("cls", FAULTS)
def test_state_outside_the_state_dict_is_found(cls: type[nn.Module]) -> None:
    name = registered(cls)
    assert any(said.startswith(f"{name} (defaults, 16x7x5): {FAULTS[cls]}") for said in check_op(find_op(name)))


@pytest.mark.parametrize("cls", FAULTS)
def test_a_study_with_such_an_op_does_not_start(cls: type[nn.Module], tmp_path: Path) -> None:
    name = registered(cls)
    home = new_home(tmp_path)
    with pytest.raises(StudyError) as caught:
        run_study(study(space=pyramid((8, [residual(op(name))]))), home)
    assert str(caught.value).startswith(
        f"study 'tiny': cannot start with the op {name} (defaults, 8x4x4): {FAULTS[cls]}"
    )
    assert study_names(home) == []


def test_nor_one_with_such_a_baseline(tmp_path: Path) -> None:
    name = registered(Listed)
    with pytest.raises(StudyError, match=rf"{name} \(defaults, 16x4x4\): branches holds 3"):
        run_study(study(baselines={"listed": pyramid((16, [residual(op(name))]))}), new_home(tmp_path))


class Sometimes(Kept):
    """Sound by default."""

    built: ClassVar[list[str]] = []

    def __init__(
        self, dim: int, *, mode: Literal["sound", "unsound"] = "sound", device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(dim, device=device, dtype=dtype)
        self.built.append(mode)
        self.shift = torch.randn(1, device=device, dtype=dtype) if mode == "unsound" else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shift


def test_every_set_of_values_is_tried_and_each_once() -> None:
    name = registered(Sometimes)
    task = Task.image(1, 8, 8, classes=10)
    before = torch.random.get_rng_state()
    check_user_defined([name], pyramid((8, [repeat(residual(op(name)), one_of(1, 2, 3))])), task, [])
    assert Sometimes.built == ["sound"] * 2  # two builds
    for modes in (("sound", "unsound"), ("unsound", "sound")):  # one of them is not in the first draw
        unsound = pyramid((8, [residual(op(name, mode=one_of(*modes)))]))
        with pytest.raises(StudyError, match=r"_sometimes \(mode='unsound', 8x4x4\): .*seeds"):
            check_user_defined([name], unsound, task, [])
    assert torch.equal(before, torch.random.get_rng_state())


class Failing(Kept):
    def forward(self, x: Tensor) -> Tensor:
        raise IndexError("always")


def test_an_op_that_fails_is_left_to_the_screen() -> None:
    name = registered(Failing)
    check_user_defined([name], pyramid((8, [residual(op(name))])), Task.image(1, 8, 8, classes=10), [])


FILE = '''
from typing import Any
from torch import Tensor, nn
from hadnas import Recipe, Study, block, one_of, op, repeat


@block(family="convolution")
class Branches(nn.Module):
    """A sum of three convolutions of different kernels."""

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.branches = {of}([nn.Conv2d(dim, dim, k, padding=k // 2, device=device, dtype=dtype) for k in (1, 3, 5)])
        self.out = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(sum(branch(x) for branch in self.branches))


BODY = op("residual", norm="batchnorm2d", block=op("branches"), merge=op("add"))
SPACE = op("pyramid", stem=op("conv_norm", dim=8, stride=1), head=op("pooled_linear"),
    stages=[{{"dim": one_of(8, 16), "down": op("conv_norm"), "blocks": repeat(BODY, one_of(1, 2))}}])
STUDY = Study(name="branches", space=SPACE, trials=1, recipe=Recipe(epochs=1, batch=512), latency=None)
'''


@pytest.mark.parametrize(("of", "starts"), [("list", False), ("nn.ModuleList", True)])
def test_a_file_with_convolutions_in_a_list_trains_nothing(of: str, starts: bool, tmp_path: Path) -> None:
    (file := tmp_path / "branches.py").write_text(FILE.format(of=of))
    home = new_home(tmp_path / "runs")
    assert hadnas("check", file).exit_code == (0 if starts else 2)
    done = hadnas("search", file, "--home", home.path)
    assert done.exit_code == (0 if starts else 2), done.output
    if starts:
        assert study_names(home) == ["branches"]
    else:
        assert done.output.startswith("error: study 'branches': cannot start with the op branches (defaults, ")
        assert f"branches holds 3 Conv2d outside the state dict: {UNSAVED}" in done.output
        assert done.output.count("\n") == 1 and study_names(home) == []
