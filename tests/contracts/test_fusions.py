"""Fusions of two inputs: the limits in which they are simpler functions."""

import pytest
import torch
from torch import Tensor

from hadnas.blocks.registry import find_op, ops
from hadnas.contract.cases import LEFT_DIM, RIGHT_DIM, RIGHT_SIZE, Case, defaults, randomise
from hadnas.contract.check import docstring
from hadnas.fusions.film import Film
from hadnas.fusions.linear_cross_attention import LinearCrossAttention
from hadnas.fusions.spatial_conditioning import SpatialConditioning


def maps(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (2, LEFT_DIM, 7, 5), (2, RIGHT_DIM, *RIGHT_SIZE)
    a, b = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return a, b


@pytest.mark.parametrize("cls", [Film, SpatialConditioning])
def test_without_scale_and_shift_the_right_input_has_no_effect(cls: type[Film | SpatialConditioning]) -> None:
    torch.manual_seed(0)
    module = randomise(cls(LEFT_DIM, RIGHT_DIM, 4, dtype=torch.float64))
    assert isinstance(module, cls)
    a, b = maps()
    assert (module(a, b) - module(a, maps(1)[1])).abs().max() > 1e-3
    with torch.no_grad():
        for parameter in module.f.parameters():
            parameter.zero_()
    expected = module.out(module.norm(module.u(module.left_norm(a))))
    assert torch.equal(module(a, b), expected) and torch.equal(module(a, maps(1)[1]), expected)


def test_one_chunk_of_block_is_mutan() -> None:
    torch.manual_seed(0)
    values = {"hidden": 6, "core": 4, "rank": 3}
    build = {name: find_op(name).cls for name in ("mutan", "block_fusion")}
    mutan = randomise(build["mutan"](LEFT_DIM, RIGHT_DIM, 4, **values, dtype=torch.float64))
    block = build["block_fusion"](LEFT_DIM, RIGHT_DIM, 4, **values, chunks=1, power=False, dtype=torch.float64)
    block.load_state_dict(
        {k: v[..., None] if k in ("m.weight", "n.weight") else v for k, v in mutan.state_dict().items()}
    )
    a, b = (x.mean((2, 3)) for x in maps())
    assert (mutan(a, b) - block(a, b)).abs().max() < 1e-10


def gradient_step(points: Tensor, values: Tensor, queries: Tensor, step: float) -> Tensor:
    """The prediction (N,) at the queries after one step from w = 0 on the mean of (w . x - y)^2 / 2."""
    weights = torch.zeros_like(queries, requires_grad=True)
    loss = ((weights[:, None] @ points - values[:, None]).square() / 2).mean((1, 2)).sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    return -step * (gradient * queries).sum(1)


def test_linear_cross_attention_can_be_a_step_of_gradient_descent() -> None:
    """The weights of von Oswald et al.: keys are the points, values the values, the step is in the last map."""
    generator = torch.Generator().manual_seed(0)
    queries, points, values = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((4, 5), (4, 5, 9), (4, 9))
    )
    module = LinearCrossAttention(5, 6, 1, hidden=5, norm=None, dtype=torch.float64)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.q.weight[:, :, 0, 0] = torch.eye(5)
        module.k.weight[:, :5, 0, 0] = torch.eye(5)
        module.v.weight[0, 5] = 1
        module.out.weight[0, 0] = 0.7 * 5**0.5
    context = torch.cat((points, values[:, None]), dim=1)[:, :, None]
    found = module(queries[:, :, None, None], context).flatten()
    assert (found - gradient_step(points, values, queries, 0.7)).abs().max() < 1e-12


def test_heads_of_one_channel_multiply_without_a_contraction() -> None:
    op = find_op("linear_cross_attention")
    values = {**defaults(op), "hidden": 8, "heads": 8}
    assert not [*docstring(Case(op, values, 4, 7, 5))]


@pytest.mark.parametrize("name", ops("fusion"))
def test_the_scale_of_an_input_does_not_reach_the_product(name: str) -> None:
    """Each input is normalised, so an encoder of larger features does not drown the other."""
    torch.manual_seed(0)
    op = find_op(name)
    module = randomise(Case(op, defaults(op), 8, 7, 5).build(dtype=torch.float64))
    a, b = maps() if op.reads == "map" else (x.mean((2, 3)) for x in maps())
    expected = module(a, b)
    for scaled in ((1000 * a, b), (a, 1000 * b)):
        assert torch.allclose(module(*scaled), expected, rtol=1e-3, atol=1e-3)
