"""Noise and attacks stay within pixels and strength and follow the gradient; pruning removes what matters least."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hadnas
from hadnas.arch.node import nodes, stored_arch
from hadnas.arch.read import complete
from hadnas.blocks.registry import register
from hadnas.contract.cases import randomise
from hadnas.errors import DataError, SpecError, UnknownName
from hadnas.hosts.build import build_seeded
from hadnas.hosts.host import make_plan
from hadnas.hosts.narrow import narrowed
from hadnas.measure.cost import cost
from hadnas.space import op
from hadnas.train.data.spec import Data, DataSpec, load_data
from hadnas.train.loss import Loss
from hadnas.train.stress.images import change_of
from hadnas.train.stress.stress import (
    Stress,
    check_stress,
    find_pruning,
    find_stress,
    score_under,
    without_small_weights,
)
from tests.networks import pyramid, residual

TASK = hadnas.Task.image(1, 8, 8, classes=10)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(DataSpec(source="digits"))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)).eval()


def batches(data: Data, network: nn.Module, kind: str, strength: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Pixels in 0..1 before and after a change, and the labels."""
    change = change_of(kind, data, strength, "cpu")
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (data.mean, data.std))
    for inputs, labels in data.val.batches(100):
        (after,) = change(network, inputs, labels)
        yield inputs[0] * std + mean, after * std + mean, labels


def test_noise_has_its_deviation_and_pixels_stay_pixels(data: Data, network: nn.Module) -> None:
    pairs = list(batches(data, network, "noise", 0.1))
    before, after = (torch.cat([pair[place] for pair in pairs]) for place in (0, 1))
    assert after.min() > -1e-6 and after.max() < 1 + 1e-6
    inside = (before > 0.4) & (before < 0.6)  # nothing is cut off there
    assert float((after - before)[inside].std()) == pytest.approx(0.1, rel=0.05)
    again = torch.cat([pair[1] for pair in batches(data, network, "noise", 0.1)])
    assert torch.equal(after, again)


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_an_attack_raises_the_loss_within_its_strength(data: Data, network: nn.Module, kind: str) -> None:
    for before, after, _ in batches(data, network, kind, 0.03):
        assert (after - before).abs().max() <= 0.03 + 1e-5
        assert after.min() > -1e-6 and after.max() < 1 + 1e-6
    plain = score_under(Stress("noise", 1e-9), network, data)
    attacked = score_under(Stress(kind, 0.03), network, data)
    assert attacked.loss > plain.loss + 0.01
    assert all(parameter.grad is None for parameter in network.parameters())


def test_one_step_is_the_sign_of_the_gradient(data: Data, network: nn.Module) -> None:
    std = torch.tensor(data.std).view(1, -1, 1, 1)
    change = change_of("fgsm", data, 0.01, "cpu")
    inputs, labels = next(data.val.batches(16))
    x = inputs[0].clone().requires_grad_()
    nn.functional.cross_entropy(network(x), labels).backward()
    assert x.grad is not None
    moved = (change(network, inputs, labels)[0] - inputs[0]) / (0.01 / std)
    free = moved.abs() > 1e-3  # pixels at the border of their range stay
    assert 0.2 < free.float().mean() < 1
    torch.testing.assert_close(moved[free], x.grad.sign()[free], atol=1e-3, rtol=0)


def test_many_steps_raise_the_loss_more_than_one(data: Data, network: nn.Module) -> None:
    assert score_under(Stress("pgd", 0.1), network, data).loss > score_under(Stress("fgsm", 0.1), network, data).loss


@pytest.mark.parametrize("target", ["labels", "values"])
def test_attacks_of_other_targets_raise_their_loss(data: Data, target: Any) -> None:
    class Of:
        """The digits as data of another target, as far as a loss reads it."""

        classes, target_mean, target_std = 3, (0.0,) * 3, (1.0,) * 3
        mean, std = data.mean, data.std

    of: Any = Of()
    of.target = target
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    x, targets = next(data.val.batches(32))[0], torch.randint(0, 2, (32, 3)).float()
    loss = Loss(of)
    (attacked,) = change_of("pgd", of, 0.1, "cpu")(net, x, targets)
    assert loss.total(net(attacked), targets) > loss.total(net(*x), targets)


def test_the_smallest_weights_of_all_layers_become_zero() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(72, 5))
    before = torch.cat([net[0].weight.flatten(), net[3].weight.flatten()]).detach()
    found: Any = without_small_weights(net, 0.3)
    after = torch.cat([found[0].weight.flatten(), found[3].weight.flatten()]).detach()
    count = round(0.3 * len(before))
    assert int((after == 0).sum()) == count
    order = before.abs().argsort()
    assert (after[order[:count]] == 0).all() and torch.equal(after[order[count:]], before[order[count:]])
    assert set(found.state_dict()) == set(net.state_dict())  # no mask is left
    assert all(torch.equal(found.state_dict()[key], net.state_dict()[key]) for key in ("0.bias", "1.weight", "3.bias"))
    assert int((net[3].weight == 0).sum()) == 0


BLOCKS = {
    "mlp": ("expand", 2, op("mlp", expand=4)),
    "mixed": ("expand", 2, op("mlp", expand=4, mix="after")),
    "star": ("expand", 2, op("star", expand=4)),
    "glu": ("expand", 1, op("glu", expand=2.0)),
    "conv_next": ("expand", 2, op("conv_next")),
    "inverted_bottleneck": ("expand", 2, op("inverted_bottleneck", squeeze=None)),
    "uib": ("expand", 2, op("uib", expand=4)),
    "token_mlp": ("hidden", 32, op("token_mlp")),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_narrower_network_computes_what_the_masked_one_does(name: str) -> None:
    slot, left, block = BLOCKS[name]
    plan = make_plan(complete(pyramid((8, [residual(block)])), TASK), TASK)
    network = randomise(build_seeded(plan, 0)).eval()
    smaller, narrow = narrowed(plan, network, 0.5)
    values = [node[slot] for node in nodes(smaller.arch.node) if slot in node]
    assert values == [pytest.approx(left)]
    before, after = (cost(one, *TASK.shapes) for one in (network, narrow))
    assert after.params < before.params and after.macs < before.macs

    # the same by hand: zeros where the narrow network has no channel, in the order of the L2 norms
    state, other = network.state_dict(), narrow.state_dict()
    for key, value in state.items():
        if value.shape == other[key].shape:
            assert torch.equal(value, other[key])
            continue
        axis = next(axis for axis, size in enumerate(value.shape) if size != other[key].shape[axis])
        rows, kept = value.movedim(axis, 0), other[key].movedim(axis, 0)
        found = [any(torch.equal(row, one) for one in kept) for row in rows]
        assert sum(found) == len(kept)
        rows[~torch.tensor(found)] = 0  # a view of the network's own weights
    x = torch.randn(4, 1, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(narrow(x), network(x), atol=1e-4, rtol=1e-4)


def test_channels_of_the_least_norm_are_removed() -> None:
    plan = make_plan(complete(pyramid((8, [residual(op("mlp", expand=1))])), TASK), TASK)
    network = build_seeded(plan, 0).eval()
    weak: Any = network.stages[0].blocks[0].block  # type: ignore[index,union-attr]
    with torch.no_grad():
        weak.w1.weight[[1, 6]] *= 1e-3
        weak.w1.bias[[1, 6]] = 0
        weak.w2.weight[:, [1, 6]] *= 1e-3
    _, narrow = narrowed(plan, network, 0.25)
    strong = [0, 2, 3, 4, 5, 7]
    assert torch.equal(narrow.stages[0].blocks[0].block.w2.weight, weak.w2.weight[:, strong])  # type: ignore


def test_running_statistics_of_a_norm_are_no_weights() -> None:
    block = op("inverted_bottleneck", expand=1, squeeze=None)
    plan = make_plan(complete(pyramid((8, [residual(block)])), TASK), TASK)
    network = randomise(build_seeded(plan, 0)).eval()
    weak: Any = network.stages[0].blocks[0].block  # type: ignore[index,union-attr]
    with torch.no_grad():
        for one in (weak.w1.weight, weak.norm1.weight, weak.norm1.bias, weak.dw.weight, weak.norm2.weight):
            one[1] *= 1e-3
        weak.norm2.bias[1] *= 1e-3
        weak.w2.weight[:, 1] *= 1e-3
        weak.norm1.running_var[1] = 1e6
    _, narrow = narrowed(plan, network, 0.125)
    strong = [0, 2, 3, 4, 5, 6, 7]
    assert torch.equal(narrow.stages[0].blocks[0].block.w2.weight, weak.w2.weight[:, strong])  # type: ignore


def test_the_order_of_keys_in_a_stored_architecture_does_not_matter() -> None:
    mlp = op("residual", merge=op("product"), block=op("mlp", expand=2))
    stage = {"dim": 8, "down": op("separable_conv"), "blocks": [op("cell", merge=op("add"), blocks=[mlp, mlp])]}
    node = op("cell_pyramid", stem=op("conv_norm", dim=8), stages=[stage], head=op("pooled_linear"))
    arch = complete(node, TASK)
    plan = make_plan(stored_arch(arch.json, arch.fingerprint), TASK)
    assert str(plan.arch.node) != str(arch.node) and plan.arch == arch
    smaller, _ = narrowed(plan, randomise(build_seeded(plan, 0)).eval(), 0.5)
    assert [one["expand"] for one in nodes(smaller.arch.node) if "expand" in one] == [1, 1]


class _Branches(nn.Module):
    """`expand` convolutions side by side, if it is a number, and a map of all."""

    def __init__(self, dim: int, *, expand: int | None, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.branches = nn.ModuleList(nn.Conv2d(dim, dim, 1, **dd) for _ in range(expand or 2))
        self.mix = nn.Conv2d(dim * len(self.branches), dim, 1, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.cat([branch(x) for branch in self.branches], 1))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("expand", [4, None])
def test_a_user_defined_block_without_a_hidden_width_stays_whole(expand: int | None) -> None:
    register("block", name="branches", family="additive")(_Branches)
    plan = make_plan(complete(pyramid((8, [residual(op("branches", expand=expand))])), TASK), TASK)
    with pytest.raises(SpecError, match="no hidden channels"):
        narrowed(plan, randomise(build_seeded(plan, 0)).eval(), 0.5)


def test_a_norm_over_hidden_channels_keeps_them_all() -> None:
    blocks = [residual(op("conv_next", grn=True)), residual(op("mlp"))]
    plan = make_plan(complete(pyramid((8, blocks)), TASK), TASK)
    smaller, _ = narrowed(plan, randomise(build_seeded(plan, 0)).eval(), 0.5)
    assert [node["expand"] for node in nodes(smaller.arch.node) if "expand" in node] == [4, 2]
    alone = make_plan(complete(pyramid((8, blocks[:1])), TASK), TASK)
    with pytest.raises(SpecError, match=r"no hidden channels.*expand or hidden"):
        narrowed(alone, randomise(build_seeded(alone, 0)).eval(), 0.5)


@pytest.mark.parametrize(
    ("text", "found", "allowed"),
    [
        ("noise", "'noise'", "above 0 and at most 1"),
        ("noise:0", "'noise:0'", "above 0 and at most 1"),
        ("pgd:1.5", "'pgd:1.5'", "at most 1"),
        ("fgsm:nan", "'fgsm:nan'", "at most 1"),
        ("weights:1", "'weights:1'", "below 1"),
        ("weights:.9999999", "'weights:.9999999'", "below 1"),  # its name would be weights:1
        ("channels:-.5", "'channels:-.5'", "above 0 and below 1"),
        ("channels:half", "'channels:half'", "below 1"),
    ],
)
def test_strengths_out_of_range_are_refused(text: str, found: str, allowed: str) -> None:
    with pytest.raises(SpecError) as caught:
        find_stress(text)
    assert found in str(caught.value) and allowed in str(caught.value)


def test_kinds() -> None:
    assert find_stress("noise:.1234567") == find_stress("noise:0.123457")
    assert str(find_stress("noise:.10")) == "noise:0.1" and find_stress("pgd:1").strength == 1
    with pytest.raises(UnknownName, match="'blur'"):
        find_stress("blur:.1")
    with pytest.raises(SpecError, match=r"noise:0\.1.*weights:SHARE"):
        find_pruning("noise:.1")


def test_two_inputs_are_not_attacked() -> None:
    pairs = load_data(DataSpec(source="digit_pairs:sum"))
    check_stress(Stress("weights", 0.5), pairs)
    with pytest.raises(DataError, match=r"pgd:0\.1 is for data of one image.*left, right"):
        check_stress(Stress("pgd", 0.1), pairs)
