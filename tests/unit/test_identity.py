"""What a fingerprint stands for: every draw of small spaces, built as it is written and as it is remembered.

Draws of one fingerprint compute the same function once weights are copied in the order of the state dict. Draws of
different fingerprints differ in their parameters, in what they compute with equal weights (in evaluation, or in
training, where DropPath acts), or in how they start (alpha, LayerScale).
"""

from functools import partial
from itertools import combinations, groupby
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.blocks.layers import normalisation
from hadnas.blocks.registry import block, find_op
from hadnas.errors import UnknownName
from hadnas.hosts.build import build
from hadnas.space import every, one_of, op, repeat
from tests.networks import pyramid, residual

TASK = Task.image(1, 6, 6, classes=3)
MLP = op("mlp", expand=1)
STAR = op("star", expand=1, kernel=3)

SPACES: dict[str, Any] = {
    "identities and sequences": pyramid(
        (
            4,
            [
                repeat(one_of(op("identity"), op("sequence", blocks=[op("identity")]), MLP), 2),
                residual(
                    one_of(
                        STAR,
                        op("identity"),
                        op("sequence", blocks=[op("identity"), STAR]),
                        op("sequence", blocks=[STAR, op("sequence", blocks=[MLP, op("identity")])]),
                        op("sequence", blocks=[STAR, MLP]),
                        op("sequence", blocks=[]),
                    )
                ),
            ],
        )
    ),
    "values without effect": pyramid(
        (
            4,
            [
                residual(
                    one_of(
                        op(
                            "star",
                            expand=2,
                            kernel=3,
                            act=one_of("relu6", "gelu"),
                            act_on=one_of("one", "none"),
                            interact=one_of("mul", "sum", "one"),
                        ),
                        op("mlp", expand=one_of(1, 2), mix=one_of("none", "before"), kernel=one_of(3, 5)),
                        op("lka", kernel=3, dilated_kernel=one_of(1, 3), dilation=one_of(1, 2)),
                    )
                )
            ],
        )
    ),
    "what a residual adds": pyramid(
        (
            4,
            [
                residual(
                    MLP,
                    merge=one_of(
                        op("add"),
                        op("product", alpha=one_of(0.0, 0.5), project=one_of(False, True)),
                        op("weighted_sum"),
                    ),
                    layer_scale=one_of(None, 0.1, 1.0),
                    drop_path=one_of(0.0, 0.5),
                )
            ],
        )
    ),
    "symmetric products": pyramid(
        (
            4,
            [
                residual(
                    one_of(
                        op("glu", expand=1.0, act=one_of(None, "sigmoid"), interact=one_of("mul", "sum")),
                        op("star", expand=1, kernel=3, act_on=one_of("one", "both", "after", "none")),
                        op("ccp", degree=one_of(2, 3), kernel=3),
                        op("ncp", degree=one_of(2, 3)),
                    ),
                    norm=one_of(None, "batchnorm2d", "layernorm2d"),
                )
            ],
        )
    ),
    "padding said and meant": pyramid(
        (4, [MLP]),
        stem=op("conv_norm", dim=4, kernel=one_of(1, 3), stride=one_of(1, 2), padding=one_of(None, 0, 1), norm=None),
    ),
}


FOLDING = {"identities and sequences", "values without effect", "padding said and meant"}
"""Spaces in which several draws are one network; in the others every draw is its own."""


class AsWritten(nn.Module):
    """A draw of a pyramid built node by node as it stands, nothing dropped, folded or reset."""

    def __init__(self, draw: dict[str, Any]) -> None:
        super().__init__()
        layers = [_built(draw["stem"], TASK.shape[0], draw["stem"]["dim"])]
        dim = draw["stem"]["dim"]
        for stage in draw["stages"]:
            layers += [_built(stage["down"], dim, stage["dim"])]
            dim = stage["dim"]
            layers += [_built(node, dim, dim) for node in stage["blocks"]]
        self.layers = nn.Sequential(*layers, normalisation("batchnorm2d", dim), _built(draw["head"], dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _built(node: dict[str, Any], in_dim: int, dim: int) -> nn.Module:
    found = find_op(node["op"])
    place = {"in_dim": in_dim, "dim": dim, "classes": TASK.outputs}
    values = {name: node.get(name, slot.default) for name, slot in found.slots.items()}
    for name, slot in found.slots.items():
        if slot.many:
            values[name] = [_built(child, dim, dim) for child in values[name]]
        elif slot.roles:
            values[name] = _built(values[name], dim, dim)
    return found.cls(*(place[name] for name in found.given if name in place), **values)


def _spread(network: nn.Module) -> None:
    """Give every parameter and buffer a value that depends on its place in the order and on its shape alone."""
    for index, value in enumerate(network.state_dict().values()):
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=torch.Generator().manual_seed(index), dtype=torch.float64)
            value.copy_(0.5 + noise)


def _outputs(network: nn.Module) -> list[Tensor]:
    images = torch.randn(4, *TASK.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    with torch.no_grad():
        _spread(network)
        evaluated = network.eval()(images)
        torch.manual_seed(5)
        trained = network.train()(images)
        return [evaluated, trained]


def _shapes(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(value.shape) for value in network.state_dict().values()]


@pytest.fixture(autouse=True)
def in_float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", SPACES)
def test_equal_fingerprints_compute_the_same_and_different_ones_do_not(name: str) -> None:
    draws = [(complete(draw, TASK), draw) for _, draw in every(SPACES[name])]
    draws.sort(key=lambda pair: pair[0].fingerprint)
    folded = 0
    seen: dict[Any, str] = {}
    for fingerprint, group in groupby(draws, key=lambda pair: pair[0].fingerprint):
        same = list(group)
        folded += len(same) - 1
        remembered = build(same[0][0], TASK)
        start = torch.cat([value.double().flatten() for value in _started(same[0][1]).state_dict().values()])
        outputs = _outputs(remembered)
        for arch, draw in same:
            assert arch.json == same[0][0].json
            written = AsWritten(draw)
            assert _shapes(written) == _shapes(remembered), arch.tree()
            for mine, other in zip(_outputs(written), outputs, strict=True):
                torch.testing.assert_close(mine, other, atol=1e-10, rtol=1e-10)
        figures = tuple(f"{value:.9g}" for out in (*outputs, start) for value in out.flatten().tolist())
        signature = (tuple(_shapes(remembered)), figures)
        assert signature not in seen, f"{fingerprint} and {seen[signature]} are one function:\n{same[0][0].tree()}"
        seen[signature] = fingerprint
    assert (folded > 0) == (name in FOLDING)


class Both(nn.Module):
    """The product of two children, which may change places."""

    def __init__(self, dim: int, *, left: nn.Module, right: nn.Module, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) * self.right(x)


def test_symmetric_children_may_change_places() -> None:
    register = partial(block, family="hadamard", children={"left": "block", "right": "block"})
    with pytest.raises(UnknownName, match="unknown parameter of both 'lift'; did you mean 'left'"):
        register(symmetric=("lift", "right"))(Both)
    register(symmetric=("left", "right"))(Both)
    places = {"left": "right", "right": "left"}
    images = torch.randn(2, *TASK.shape, generator=torch.Generator().manual_seed(9))
    pairs = list(combinations((STAR, MLP, op("mlp", expand=2), op("identity")), 2))
    fingerprints = set()
    for pair in pairs:
        draws = [pyramid((4, [op("both", left=left, right=right)])) for left, right in (pair, pair[::-1])]
        arch = complete(draws[0], TASK)
        assert complete(draws[1], TASK) == arch == complete(arch.node, TASK)
        fingerprints.add(arch.fingerprint)
        written, turned, remembered = AsWritten(draws[0]), AsWritten(draws[1]), build(arch, TASK)
        _spread(written)
        turned.load_state_dict(
            {".".join(places.get(part, part) for part in key.split(".")): v for key, v in written.state_dict().items()}
        )
        same = next(network for network in (written, turned) if _shapes(network) == _shapes(remembered))
        remembered.load_state_dict(dict(zip(remembered.state_dict(), same.state_dict().values(), strict=True)))
        with torch.no_grad():
            outputs = [network.eval()(images) for network in (written, turned, remembered)]
        for output in outputs[1:]:
            torch.testing.assert_close(output, outputs[0], atol=1e-10, rtol=1e-10)
    assert len(fingerprints) == len(pairs)


def test_zero_has_one_spelling() -> None:
    plus, minus = (
        complete(pyramid((4, [residual(MLP, merge=op("product", alpha=alpha))])), TASK) for alpha in (0.0, -0.0)
    )
    assert plus.fingerprint == minus.fingerprint


def _started(draw: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return build(complete(draw, TASK), TASK)
