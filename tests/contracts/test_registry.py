"""The registry refuses what is not of the house's form, and says what was found and what is allowed."""

from typing import Any, Literal

import pytest
from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm
from hadnas.blocks.registry import block, find_op, ops, register
from hadnas.blocks.rules import at_least, divides, odd, require, within
from hadnas.errors import SpecError, UnknownName

pytestmark = pytest.mark.usefixtures("own_registry")


class Scaled(nn.Module):
    """A gain.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(
        self,
        dim: int,
        *,
        gain: float = 1.0,
        times: int = 2,
        mode: Literal["a", "b"] = "a",
        act: Act | None = None,
        norm: Norm = "layernorm2d",
        on: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("kind", [tuple[int, int], list[int], dict[str, int], Literal["a", b"b"], int | complex])
def test_a_parameter_that_json_does_not_give_back_is_refused(kind: Any) -> None:
    class Spread(Scaled):
        def __init__(self, dim: int, *, kernel: kind = None, device: Any = None, dtype: Any = None) -> None:  # type: ignore[valid-type]
            super().__init__(dim, device=device, dtype=dtype)

    with pytest.raises(SpecError, match=r"Spread: .*'kernel' .*allowed are bool, int, float, str"):
        block(family="additive")(Spread)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_json_has_no_number_for_is_refused(value: float) -> None:
    with pytest.raises(SpecError, match=r"sparsity = .*finite"):
        find_op("rpc_attention").slots["sparsity"].check(value)


def test_a_class_becomes_an_op_with_slots() -> None:
    assert block(family="additive", rules=(at_least("times", 1),))(Scaled) is Scaled
    op = find_op("scaled", ("block",))
    assert (op.name, op.cls, op.roles, op.family) == ("scaled", Scaled, ("block",), "additive")
    assert op.summary == "A gain."
    assert list(op.slots) == ["gain", "times", "mode", "act", "norm", "on"]
    assert op.given == ("dim", "device", "dtype")
    assert ops("block")["scaled"] is op
    assert "scaled" not in ops("merge")


@pytest.mark.parametrize(
    ("name", "snake"),
    [("TwoWords", "two_words"), ("XYZ", "xyz"), ("XYMixer", "xy_mixer"), ("Conv9Former", "conv9_former")],
)
def test_the_name_is_the_class_in_snake_case(name: str, snake: str) -> None:
    block(family="convolution")(type(name, (Scaled,), {"__init__": Scaled.__init__}))
    assert find_op(snake).cls.__name__ == name


def test_a_name_may_be_given() -> None:
    register("stem", "down", name="gain")(Scaled)
    assert find_op("gain", ("down",)).roles == ("stem", "down")


def test_the_same_definition_may_be_read_again_but_another_may_not_take_its_name() -> None:
    block(family="additive")(Scaled)
    block(family="additive")(Scaled)
    with pytest.raises(SpecError, match=r"'star' .*hadnas\.blocks\.star\.Star"):
        block(family="additive", name="star")(Scaled)
    assert find_op("star").cls is not Scaled


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown family 'hadamart'; did you mean 'hadamard'"):
        block(family="hadamart")(Scaled)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="unknown family 'sum'"):
        register("merge", family="sum")(Scaled)  # type: ignore[arg-type]


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown role 'blok'; did you mean 'block'"):
        register("blok")(Scaled)


def test_a_host_brings_its_host_and_no_other_op_does() -> None:
    for role, host in (("host", None), ("block", find_op("pyramid").host)):
        with pytest.raises(SpecError, match=r"scaled: host = .*'host'.* Host"):
            register(role, host=host)(Scaled)


class WithoutDtype(nn.Module):
    def __init__(self, dim: int, *, device: Any = None) -> None: ...


class WithoutAnnotation(nn.Module):
    def __init__(self, dim: int, *, gain=1.0, device: Any = None, dtype: Any = None) -> None: ...  # type: ignore[no-untyped-def]


class Positional(nn.Module):
    def __init__(self, dim: int, gain: float = 1.0, *, device: Any = None, dtype: Any = None) -> None: ...


class Open(nn.Module):
    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None, **rest: Any) -> None: ...


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (WithoutDtype, r"WithoutDtype: .*\['dtype'\]; .*device=None, dtype=None"),
        (WithoutAnnotation, "WithoutAnnotation: .*'gain'.*annotation"),
        (Positional, "Positional: .*'gain'.*keyword-only"),
        (Open, "Open: .*'rest'.*keyword-only"),
    ],
)
def test_a_constructor_of_another_form_is_refused(cls: type[nn.Module], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        block(family="additive")(cls)
    assert cls not in [op.cls for op in ops().values()]


GOOD = {
    "gain": [1.0, -2.5], "times": [3], "mode": ["a", "b"], "act": ["silu", "star_relu", None], "norm": ["rmsnorm2d"],
    "on": [False, True],
}  # fmt: skip
BAD = [
    ("gain", "1.0", "input should be a valid number"),
    ("times", 2.0, "input should be a valid integer"),
    ("times", True, "input should be a valid integer"),
    ("times", None, "input should be a valid integer"),
    ("mode", "c", "input should be 'a' or 'b'"),
    ("act", "sillu", "input should be 'relu', 'relu6'"),
    ("norm", None, "input should be 'batchnorm2d'"),
    ("on", 1, "input should be a valid boolean"),
]


@pytest.mark.parametrize(("slot", "value", "message"), BAD)
def test_a_slot_refuses_other_types_and_literals(slot: str, value: Any, message: str) -> None:
    block(family="additive")(Scaled)
    with pytest.raises(SpecError) as error:
        find_op("scaled").slots[slot].check(value)
    assert str(error.value).startswith(f"{slot} = {value!r} is not allowed: {message}")


def test_a_slot_takes_what_its_annotation_says() -> None:
    block(family="additive")(Scaled)
    for slot, values in GOOD.items():
        for value in values:
            assert find_op("scaled").slots[slot].check(value) == value


def test_an_unknown_op_names_the_nearest_one_of_the_role() -> None:
    with pytest.raises(UnknownName, match=r"unknown op 'starr'; did you mean 'star'\? \(known: .*star.*\)"):
        find_op("starr")
    with pytest.raises(UnknownName) as error:
        find_op("ad", ("merge",))
    assert "did you mean 'add'" in str(error.value) and "star" not in str(error.value)
    for odd_name in (None, 3, ["star"], {"op": "star"}):
        with pytest.raises(UnknownName, match="unknown op"):
            find_op(odd_name)


def test_an_op_may_stand_only_where_its_role_allows() -> None:
    with pytest.raises(SpecError, match=r"'star' has the role block; allowed.*add.*product"):
        find_op("star", ("merge",))
    assert find_op("conv_norm", ("down",)).name == "conv_norm"


def test_rules_say_what_was_found_and_what_is_allowed() -> None:
    assert at_least("k", 2)({"k": 1}) == "k = 1 must be at least 2"
    assert at_least("k", 2)({"k": 2}) is None and at_least("k", 2)({"k": None}) is None
    assert odd("k", 3)({"k": 4}) == "k = 4 must be odd and at least 3"
    assert odd("k", 3)({"k": 1}) is not None and odd("k", 3)({"k": 3}) is None
    assert within("k", 0.0, 0.5)({"k": 0.6}) == "k = 0.6 must be between 0.0 and 0.5"
    assert within("k", 0.0, 0.5)({"k": 0.5}) is None
    assert divides("heads")({"heads": 3, "dim": 8}) == "heads = 3 must divide dim = 8"
    assert divides("heads")({"heads": 0, "dim": 8}) is not None and divides("heads")({"heads": 4, "dim": 8}) is None
    assert require(lambda v: v["a"] < v["b"], "a = {a} must be below b = {b}")({"a": 2, "b": 1, "c": 0}) == (
        "a = 2 must be below b = 1"
    )
