"""Every registered op keeps the contract, and every block and merge equals its oracle: walked from the registry."""

from importlib import import_module
from inspect import getdoc
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hadnas.blocks.layers import Norm
from hadnas.blocks.registry import Op, find_op, ops
from hadnas.contract.cases import Case, defaults, randomise, state
from hadnas.contract.check import behaviour, check_op, stack
from hadnas.contract.formula import LINES, lines
from hadnas.inputs import Mask
from tests.oracles import ORACLES

OPS = {name: op for name, op in ops().items() if not {"host", "graft"} & {*op.roles}}
PARTS = {**ops("block"), **ops("masked"), **ops("merge"), **ops("fusion")}
SIZE = (7, 5)  # odd and not square
TOLERANCE = 1e-10  # in float64


@pytest.mark.parametrize("name", OPS)
def test_contract(name: str) -> None:
    findings = check_op(find_op(name))
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize("norm", [None, *get_args(Norm)])
def test_which_norms_leave_a_bias_before_them_idle(norm: str | None) -> None:
    """The contract varies one slot at a time; this takes two."""
    op = find_op("pooled_mlp")
    case = Case(op, {**defaults(op), "act": "star_relu", "norm": norm}, 16, *SIZE)
    assert list(behaviour(case)) == []


def test_every_op_is_documented() -> None:
    """A shape, and of what a network is made of the lines that the contract checks and the source."""
    needed = {name: LINES[:-1] if name in PARTS else LINES[:1] for name in OPS}  # not all are in timm
    assert [(name, key) for name, keys in needed.items() for key in keys if not lines(OPS[name].cls).get(key)] == []
    assert [name for name, op in OPS.items() if "arXiv" not in lines(op.cls).get("Source", "")] == []


def test_every_docstring_has_its_formula_in_the_second_paragraph() -> None:
    """The catalogue prints it as code."""
    assert [name for name, op in ops().items() if " = " not in (getdoc(op.cls) or "").split("\n\n")[1]] == []


NAMED = {name: path for name, op in OPS.items() if (path := lines(op.cls).get("timm"))}


@pytest.mark.parametrize("name", NAMED)
def test_the_class_of_timm_exists(name: str) -> None:
    module, _, cls = NAMED[name].rpartition(".")
    assert module.startswith("timm.") and issubclass(getattr(import_module(module), cls), nn.Module)


def test_every_part_has_an_oracle() -> None:
    assert sorted(set(PARTS) - set(ORACLES)) == [], "these blocks and merges lack an oracle in tests/oracles"


def test_every_oracle_has_a_part() -> None:
    assert sorted(set(ORACLES) - set(PARTS)) == [], "these oracles belong to no registered block or merge"


PARITIES = [
    pytest.param(name, values, id=f"{name}-{'-'.join(f'{k}={v}' for k, v in values.items()) or 'defaults'}")
    for name, oracle in sorted(ORACLES.items())
    for values in oracle.cases
]


@pytest.mark.parametrize(("name", "values"), PARITIES)
def test_parity(name: str, values: dict[str, Any]) -> None:
    """Outputs, and gradients of the inputs (but for a mask) and of every parameter, equal those of the oracle.

    Evaluating, and in training too where a norm takes its statistics from the batch.
    """
    op = find_op(name)
    case = Case(op, {**defaults(op), **values}, ORACLES[name].dim, *SIZE)
    assert case.broken is None
    torch.manual_seed(0)
    module = randomise(case.build(dtype=torch.float64))
    assert_parity(module.eval(), case)
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        assert_parity(module.train(), case)


def assert_parity(module: nn.Module, case: Case) -> None:
    op, mode = case.op, "training" if module.training else "evaluation"
    varied = [not isinstance(shape, Mask) for shape in case.shapes_in]
    inputs = [x.requires_grad_(own) for x, own in zip(case.inputs(dtype=torch.float64), varied, strict=True)]
    copies = [x.detach().clone().requires_grad_(x.requires_grad) for x in inputs]
    params = {key: t.detach().clone() for key, t in state(module)}
    learned = {key: params[key].requires_grad_() for key, _ in module.named_parameters()}

    got = module(*inputs)
    want = ORACLES[op.name].function(params, *copies, **place(op), **case.values, training=module.training)
    direction = torch.randn_like(got)
    assert difference(got, want) < TOLERANCE, f"the output in {mode}"
    wanted = torch.autograd.grad((want * direction).sum(), [*(x for x in copies if x.requires_grad), *learned.values()])
    found = torch.autograd.grad(
        (got * direction).sum(), [*(x for x in inputs if x.requires_grad), *module.parameters()]
    )
    for key, a, b in zip([*(f"input {i}" for i in range(sum(varied))), *learned], found, wanted, strict=True):
        assert difference(a, b) < TOLERANCE, f"the gradient of {key} in {mode}"


def place(op: Op) -> dict[str, Any]:
    """What the place gives to an op of fixed resolution, for its oracle."""
    return {"resolution": SIZE} if "resolution" in op.given else {}


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape and a.dtype == b.dtype
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize(
    ("name", "values"), [("gn_conv", {"order": 5}), ("ccp", {"degree": 4}), ("ncp", {"degree": 4})]
)
def test_the_highest_degrees_stack(name: str, values: dict[str, Any]) -> None:
    op = find_op(name)
    assert list(stack(Case(op, {**defaults(op), **values}, 16, *SIZE))) == []


def test_outer_products_of_too_many_features_are_refused() -> None:
    op = find_op("hadamard_linear_attention")
    broken = Case(op, {**defaults(op), "rank": 7, "factors": 3}, 8, *SIZE).broken
    assert broken == "rank = 7 to the power of factors = 3 must be at most 256, the features of a head"


class MatrixProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Notes the dtypes that products of matrices are computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        if op.overloadpacket is torch.ops.aten.bmm:
            self.dtypes.add(out.dtype)
        return out


@pytest.mark.parametrize(
    "name", ["hadamard_linear_attention", "corelnet", "rank_augmented_attention", "poly_attention"]
)
def test_what_needs_float32_is_not_cast_to_less(name: str) -> None:
    module, x = Case(find_op(name), defaults(find_op(name)), 16, 6, 6).build(), torch.randn(2, 16, 6, 6)
    with torch.autocast("cpu", torch.bfloat16), MatrixProducts() as products:
        assert module(x).dtype == torch.bfloat16
    assert products.dtypes == {torch.float32}


def test_a_mean_without_its_neighbours_is_exact_under_autocast() -> None:
    """Position weights of -8 leave exp(-8) of a sum, which bfloat16 rounds to nothing."""
    module, x = Case(find_op("aft_conv"), {"kernel": 7, "interact": "mul"}, 16, 3, 3).build(), torch.randn(2, 16, 3, 3)
    with torch.no_grad():
        expected = module(x)
        module.w.fill_(-8)
        with torch.autocast("cpu", torch.bfloat16):
            found = module(x)
    assert difference(found.float(), expected) < 0.03 * float(expected.abs().max())


def test_learned_scales_start_where_asked() -> None:
    a, b = torch.randn(2, 2, 4, 3, 3)
    merge = find_op("sigmoid_scale").cls(4, share=0.25)
    assert torch.allclose(merge(a, b), a + 0.25 * b)
    attention = find_op("poly_attention").cls(65, head_dim=9)
    assert torch.allclose(torch.sigmoid(attention.s), torch.full((2,), 1 / 3))


@pytest.mark.parametrize("name", ["token_mlp", "spatial_gating", "aft"])
def test_weights_over_positions_refuse_another_map(name: str) -> None:
    """Also one of as many positions, which they would take for their own."""
    op = find_op(name)
    module = Case(op, defaults(op), 8, 4, 6).build()
    with pytest.raises(ValueError, match=r"6 x 4; .*4 x 6"):
        module(torch.zeros(2, 8, 6, 4))
