"""`hadnas check`: the contract for the blocks of one's own file."""

import re
from pathlib import Path

from hadnas.blocks.registry import ops
from hadnas.contract.check import check_op
from tests.readme import DOCS
from tests.shell import hadnas

FILE = '''
from typing import Any
import torch
from torch import Tensor, nn
from hadnas import block


class Scaled(nn.Module):
    """A scale per channel.

    y = s x

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: C
    MACs: 0
    Products: 0
    Source: this file.
    """

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim, 1, 1, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@block(family="additive")
class Sound(Scaled):
    __doc__ = Scaled.__doc__


@block(family="additive")
class Cropped(Scaled):
    __doc__ = Scaled.__doc__

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., 1:]


@block(family="additive")
class Idle(Scaled):
    __doc__ = Scaled.__doc__

    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * self.scale


@block(family="additive")
class Infinite(Scaled):
    __doc__ = Scaled.__doc__

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0
'''
SAID = {
    "sound": "sound: satisfies the contract",
    "cropped": "the output has the shape (2, 16, 7, 4); allowed is (2, 16, 7, 5)",
    "idle": "no gradient reaches the parameter scale",
    "infinite": "the output is not finite",
}


def test_the_command_reports_the_faulty_blocks_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    done = hadnas("check", tmp_path / "mine.py")
    said = " ".join(done.output.split())
    assert done.exit_code == 2
    for name, text in SAID.items():
        assert text in said, name


def test_the_block_of_the_docs_keeps_the_contract(tmp_path: Path) -> None:
    example = re.search(r"```python\n(# mine.py.*?)```", (DOCS / "user_defined.md").read_text(), re.S)
    assert example is not None
    (tmp_path / "mine.py").write_text(example[1])
    done = hadnas("check", tmp_path / "mine.py")
    assert done.exit_code == 0 and "squared" in done.output, done.output


TWOFOLD = '''
from typing import Any, Literal
from torch import Tensor, nn
from hadnas import block


@block(family="hadamard", twin=("interact", "mul", "sum"))
class Twofold(nn.Module):
    """Two pointwise maps, multiplied or summed."""

    def __init__(
        self,
        dim: int,
        *,
        act: bool = True,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.act, self.interact = nn.GELU() if act else nn.Identity(), interact
        self.up = nn.Conv2d(dim, 2 * dim, 1, device=device, dtype=dtype)
        self.down = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.act(self.up(x)).chunk(2, dim=1)
        return self.down(a * b if self.interact == "mul" else a + b)
'''


def test_a_block_with_a_twin_need_not_say_what_it_costs(tmp_path: Path) -> None:
    (tmp_path / "twofold.py").write_text(TWOFOLD)
    done = hadnas("check", tmp_path / "twofold.py")
    assert done.exit_code == 0 and "twofold" in done.output, done.output


GRAFTS = (
    FILE.partition("@block")[0].replace("from hadnas import block", "from hadnas import register")
    + """
from hadnas.hosts.graft.wrapper import Wrapper


class Around(Wrapper):
    def __init__(self, parent: nn.Module, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__(parent)
        self.alpha = nn.Parameter(torch.zeros((), device=device, dtype=dtype))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return (1 + self.alpha) * self.parent(x, *args, **kwargs)


@register("graft")
class Good(Around):
    pass


@register("graft", kinds=("linear", "conv"))
class GoodLayer(Around):
    pass


@register("graft")
class Deaf(Around):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@register("graft")
class Forgetful(Around):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(x)


@register("graft", kinds=("conv",))
class Bare(nn.Module):
    def __init__(self, parent: nn.Module, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.inner = parent

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@register("graft", kinds=("linear",))
class Hidden(Around):
    def __init__(self, parent: nn.Module, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__(parent, device=device, dtype=dtype)
        self.scale = [torch.randn((), device=device, dtype=dtype)]

    def forward(self, x: Tensor) -> Tensor:
        return self.scale[0] * super().forward(x)


@register("graft", kinds=("conv",))
class Shrinking(Around):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., 1:]
"""
)
FOUND = {
    "good": "good: satisfies the contract",
    "good_layer": "good_layer: satisfies the contract",
    "deaf": "which it must pass on",
    "forgetful": "it passes [(), {}] to the module at the site",
    "bare": "it lacks ['in_channels'] of the module at the site",
    "hidden": "hidden (defaults, 16x7x5) at a site of kind linear: two builds under different seeds",
    "shrinking": "the output has the shape (2, 32, 4, 2); allowed is (2, 32, 4, 3)",
}


def test_grafts_are_checked_around_a_module_of_every_kind_of_site(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GRAFTS)
    done = hadnas("check", tmp_path / "mine.py")
    said = " ".join(done.output.split())
    assert done.exit_code == 2
    for name, text in FOUND.items():
        assert text in said, (name, said)
    assert all(check_op(op) == [] for op in ops("graft").values() if op.cls.__module__.startswith("hadnas."))
