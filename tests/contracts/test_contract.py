"""The contract finds each fault it is there for."""

import re
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.blocks.registry import block, find_op, register
from hadnas.blocks.rules import odd
from hadnas.contract.cases import cases
from hadnas.contract.check import check_op
from hadnas.contract.formula import lines
from hadnas.errors import BuildError
from hadnas.hosts.build import build
from hadnas.space import op
from tests.networks import pyramid

pytestmark = pytest.mark.usefixtures("own_registry")


class Plain(nn.Module):
    """A convolution, by itself or times its input.

    y = W x * x

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 2 if interact == "mul" else 1
    Params: kernel**2*C**2
        + (C if bias else 0)
    MACs: kernel**2*C**2*N
    Products: C*N if interact == "mul" else 0
    Source: this file.
    """

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 3,
        bias: bool = True,
        interact: Literal["mul", "sum"] = "mul",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, bias=bias, device=device, dtype=dtype)
        self.multiply = interact == "mul"

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv(x)
        return h * x if self.multiply else h + x


def found(cls: type[nn.Module], **declared: Any) -> list[str]:
    block(
        family="hadamard", name="tried", **{"rules": (odd("kernel"),), "twin": ("interact", "mul", "sum"), **declared}
    )(cls)
    return check_op(find_op("tried"))


def test_a_good_op_has_no_findings_and_the_random_state_stays() -> None:
    before = torch.random.get_rng_state()
    assert found(Plain) == []
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_additive_op_multiplies_nothing() -> None:
    block(family="additive", name="tried", rules=(odd("kernel"),), twin=("interact", "mul", "sum"))(Plain)
    (said,) = check_op(find_op("tried"))
    assert "the family is 'additive', yet 560 products of two activations are counted" in said


def test_cases_are_the_defaults_and_each_slot_varied() -> None:
    block(family="hadamard", name="tried", rules=(odd("kernel"),))(Plain)
    tried = [(case.varied, case.dim, case.height, case.width) for case in cases(find_op("tried"))]
    assert tried[:4] == [("defaults", 16, 7, 5), ("defaults", 24, 7, 5), ("defaults", 16, 6, 9), ("defaults", 16, 1, 1)]
    assert [varied for varied, *_ in tried[4:]] == ["kernel=5", "bias=False", "interact='sum'"]


class Narrower(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :, 1:]


class Unused(Plain):
    def __init__(self, dim: int, *, kernel: int = 3, bias: bool = True, interact: Literal["mul", "sum"] = "mul", device: Any = None, dtype: Any = None) -> None:  # fmt: skip  # noqa: E501
        super().__init__(dim, kernel=kernel, bias=bias, interact=interact, device=device, dtype=dtype)
        self.gain = nn.Parameter(torch.zeros(dim, device=device, dtype=dtype))


class Anywhere(Plain):
    def __init__(self, dim: int, *, kernel: int = 3, bias: bool = True, interact: Literal["mul", "sum"] = "mul", device: Any = None, dtype: Any = None) -> None:  # fmt: skip  # noqa: E501
        super().__init__(dim, kernel=kernel, bias=bias, interact=interact)


class Divided(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


class Noisy(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.randn_like(x)


class InPlace(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach().add_(1))


class Cubic(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * x


class Failing(Plain):
    def forward(self, x: Tensor) -> Tensor:
        raise IndexError("no such thing")


class Exploding(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(1e25 * x)


class Downcast(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class Uncastable(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.dot(self.conv(x).flatten(), x.flatten()) ** 0


class Undocumented(Plain):
    """A convolution.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Params: nothing at all
    """


class WrongTwin(Plain):
    def __init__(self, dim: int, *, kernel: int = 3, bias: bool = True, interact: Literal["mul", "sum"] = "mul", device: Any = None, dtype: Any = None) -> None:  # fmt: skip  # noqa: E501
        bias = bias and interact == "mul"
        super().__init__(dim, kernel=kernel, bias=bias, interact=interact, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * x


FAULTS = [
    (Narrower, r"tried \(defaults, 16x7x5\): the output has the shape \(2, 16, 6, 5\); allowed is \(2, 16, 7, 5\)"),
    (Unused, "no gradient reaches the parameter gain"),
    (Unused, r"Params are 2336 .*2320"),
    (Anywhere, r"\['conv.weight', 'conv.bias'\] ignore the dtype given"),
    (Anywhere, r"\['conv.weight', 'conv.bias'\] ignore the device given"),
    (Divided, "the output is not finite"),
    (Noisy, "two evaluations of one input differ"),
    (InPlace, "the forward pass changed its input in place"),
    (Cubic, "the degree is 3; .* 2"),
    (Cubic, r"tried \(interact='sum', 16x7x5\): the degree is 2; .* 1"),
    (Cubic, "Products are 1120 .*560"),
    (Failing, "behaviour fails with IndexError: no such thing"),
    (Exploding, "not finite after 12 residual nodes in torch.float32 with alphas at 0"),
    (Downcast, "the output of a float64 input is torch.float32"),
    (Uncastable, "autocast fails with RuntimeError"),
    (Undocumented, "'nothing at all' is not a formula"),
    (WrongTwin, r"parameters and MACs are \(2304, 80640\) at interact='sum', but \(2320, 80640\) at 'mul'"),
    (WrongTwin, "products are 560 at interact='sum' and 560 at 'mul'; the twin must have fewer"),
]


@pytest.mark.parametrize("cls", dict.fromkeys(cls for cls, _ in FAULTS))
def test_each_fault_is_found(cls: type[nn.Module]) -> None:
    findings = "\n".join(found(cls))
    for message in (message for other, message in FAULTS if other is cls):
        assert re.search(message, findings), f"{message} is not in\n{findings}"


class Attended(nn.Module):
    """A map plus its attended mean; the bias of the scores adds to all of them alike, so the softmax takes it out."""

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.scores = nn.Conv2d(dim, 1, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.scores(x).flatten(2).softmax(2)
        return x + (weights @ x.flatten(2).transpose(1, 2)).transpose(1, 2).unsqueeze(3)


class Shifted(nn.Module):
    """No parameter but one without effect."""

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.shift).softmax(1)


class Faint(Plain):
    """A parameter of little effect.

    Params: kernel**2*C**2 + (C if bias else 0) + 1
    """

    def __init__(self, dim: int, *, kernel: int = 3, bias: bool = True, interact: Literal["mul", "sum"] = "mul", device: Any = None, dtype: Any = None) -> None:  # fmt: skip  # noqa: E501
        super().__init__(dim, kernel=kernel, bias=bias, interact=interact, device=device, dtype=dtype)
        self.gain = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-8 * self.gain


class Detached(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


UNREACHED = r"no gradient reaches the parameter {}; every parameter must have an effect or be declared idle"


@pytest.mark.parametrize(
    ("cls", "name"), [(Attended, "scores.bias"), (Shifted, "shift"), (Unused, "gain"), (Detached, "conv.weight")]
)
@pytest.mark.parametrize("seed", range(4))
def test_a_parameter_without_effect_is_found_whatever_rounding_leaves(
    cls: type[nn.Module], name: str, seed: int
) -> None:
    block(family="hadamard", name="tried", rules=(odd("kernel"),) if issubclass(cls, Plain) else ())(cls)
    assert f"tried (defaults, 16x7x5): {UNREACHED.format(name)}" in check_op(find_op("tried"), seed)


def test_a_parameter_of_little_effect_is_none_without() -> None:
    assert found(Faint) == []


def test_a_parameter_may_be_declared_idle_if_it_is() -> None:
    def said(*idle: str) -> list[str]:
        return found(Attended, rules=(), twin=None, idle=lambda values: idle)

    assert said("scores.bias") == []
    depends = "tried (defaults, 16x7x5): the output depends on ['scores.weight'], declared idle"
    assert any(text.startswith(depends) for text in said("scores.weight"))
    strange = "tried (defaults, 16x7x5): ['score.bias'] are declared idle; allowed are ['scores.weight', 'scores.bias']"
    assert strange in said("score.bias")


class Bare(nn.Module):
    """A head without what timm's interface asks for.

    Shapes: (B, C, H, W) -> (B, classes).
    """

    def __init__(self, dim: int, classes: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.fc = nn.Linear(dim, classes, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


def test_a_head_must_have_what_timm_asks_for() -> None:
    register("head", name="bare")(Bare)
    (said,) = check_op(find_op("bare"))
    assert "a head needs fc, drop, classes, hidden_size, reset" in said and "lacks ['drop', 'classes'," in said
    arch = complete({**pyramid((8, [])), "head": op("bare")})
    with pytest.raises(BuildError, match=r"pyramid .*: AttributeError: 'Bare'"):
        build(arch, Task.image(1, 8, 8, classes=10))


def test_what_the_rules_admit_must_run() -> None:
    findings = "\n".join(found(Plain, rules=()))
    assert re.search(r"tried \(kernel=2, 16x7x5\): no rule refuses it, yet .*\(17|kernel=2.*fails with", findings)
    assert re.search(r"^tried \(kernel=-1, 16x7x5\): no rule refuses it, yet it fails with", findings, re.MULTILINE)


def test_rules_that_refuse_all_or_fail_are_findings() -> None:
    assert found(Plain, rules=(lambda v: "never",)) == [
        "tried: the rules refuse the defaults at every width of (16, 24, 32, 48, 64, 96, 128): never"
    ]
    assert found(Plain, rules=(lambda v: v["kernal"],)) == ["tried: its rules fail with KeyError: 'kernal'"]


def test_lines_of_a_docstring() -> None:
    said = lines(Plain)
    assert said["Params"] == "kernel**2*C**2 + (C if bias else 0)"
    assert said["Source"] == "this file."
