"""nwot and synflow against their formulas, worked out one unit, one path and one weight at a time."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hadnas.errors import MeasurementError
from hadnas.measure.proxies import nwot, synflow

IMAGES = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(3))


def rectified(inplace=False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace), nn.Conv2d(3, 5, 2), nn.ReLU6(inplace), nn.Flatten(), nn.Linear(5, 2)
    )


def test_nwot_by_brute_force():
    net = rectified()
    first = net[0](IMAGES)
    second = net[2](F.relu(first))
    codes = [[*(first[i] > 0).flatten().tolist(), *(second[i] > 0).flatten().tolist()] for i in range(5)]
    units = 3 * 2 * 2 + 5
    kernel = torch.tensor(
        [[units - sum(a != b for a, b in zip(p, q, strict=True)) for q in codes] for p in codes], dtype=torch.float64
    )
    expected = math.log(abs(float(torch.linalg.det(kernel))))
    assert nwot(net, (IMAGES,)) == pytest.approx(expected)
    assert nwot(rectified(inplace=True), (IMAGES,)) == pytest.approx(expected)


def test_nwot_sees_functions_and_smooth_activations():
    class Functional(nn.Module):
        def __init__(self, act):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(1, 6, 3), nn.Linear(24, 2)
            self.act = act

        def forward(self, x):
            return self.head(self.act(self.conv(x)).flatten(1))

    scores = [nwot(Functional(act), (IMAGES,)) for act in (F.relu, F.gelu, F.silu, F.hardswish, F.mish)]
    assert scores == [scores[0]] * 5 and math.isfinite(scores[0])


def test_nwot_of_equal_images_is_minus_infinity():
    assert nwot(rectified(), (IMAGES[:1].expand(3, -1, -1, -1).clone(),)) == -math.inf


def test_synflow_by_brute_force():
    """Of a linear network: each weight's flow is the sum over all paths through it of the product of their weights."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False))
    first, second = net[1].weight.detach().abs().tolist(), net[2].weight.detach().abs().tolist()
    paths = sum(second[k][j] * first[j][i] for i, j, k in itertools.product(range(4), range(3), range(2)))
    assert synflow(net, (1, 2, 2)) == pytest.approx(2 * paths, rel=1e-6)  # every path crosses two weights


def flow_by_differences(weights: list[torch.Tensor], summed) -> float:
    """The sum of |w dR/dw| over weights, R = summed(), one weight at a time by central differences."""
    step, total = 1e-6, 0.0
    for weight in weights:
        for place in itertools.product(*map(range, weight.shape)):
            kept = float(weight[place])
            weight[place] = kept + step
            above = float(summed())
            weight[place] = kept - step
            below = float(summed())
            weight[place] = kept
            total += abs(kept * (above - below) / (2 * step))
    return total


def test_synflow_by_finite_differences():
    net = rectified().double()
    ones = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        for p in net.parameters():
            p.abs_()
        expected = flow_by_differences([net[0].weight, net[2].weight, net[5].weight], lambda: net(ones).sum())
    assert synflow(rectified(), (1, 4, 4)) == pytest.approx(expected, rel=1e-6)


class Residual(nn.Module):
    """A residual branch whose last norm starts at zero, a group norm, and a weight that is no layer's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.first, self.branch = nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1)
        self.last, self.norm, self.head = nn.BatchNorm2d(3), nn.GroupNorm(1, 3), nn.Linear(3, 2)
        self.mix = nn.Parameter(torch.randn(3, 3))
        nn.init.zeros_(self.last.weight)
        nn.init.normal_(self.norm.weight)
        self.last.running_mean.uniform_(1, 2)
        self.head.weight.requires_grad_(False)

    def forward(self, x):
        x = F.relu(self.first(self.stem(x)))
        x = self.norm(x + self.last(self.branch(x)))
        return self.head(torch.einsum("bchw,cd->bd", x, self.mix))


def test_synflow_passes_over_batch_norms_and_counts_convolutions_and_linear_layers():
    """The published score: no batch norm, absolute parameters, |w dR/dw| of convolutions and linear layers alone."""
    net = Residual()
    values = {key: value.detach().double().abs() for key, value in net.named_parameters()}
    ones = torch.ones(1, 1, 4, 4, dtype=torch.float64)

    def summed():
        x = F.relu(F.conv2d(ones, values["stem.weight"], values["stem.bias"]))
        x = x + F.conv2d(x, values["branch.weight"], values["branch.bias"], padding=1)
        x = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
        x = x * values["norm.weight"][:, None, None] + values["norm.bias"][:, None, None]
        return (x.sum((2, 3)) @ values["mix"] @ values["head.weight"].T + values["head.bias"]).sum()

    expected = flow_by_differences([values[f"{name}.weight"] for name in ("stem", "branch", "head")], summed)
    assert synflow(net, (1, 4, 4)) == pytest.approx(expected, rel=1e-6)
    assert not net.head.weight.requires_grad and not net.last.weight.any()


def test_scores_leave_the_network_alone():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(8, 2))
    net[1].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    modes, random = [m.training for m in net.modules()], torch.get_rng_state()
    nwot(net, (IMAGES,))
    synflow(net, (1, 4, 4))
    assert all(torch.equal(v, before[k]) and v.dtype == before[k].dtype for k, v in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes and torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in net.parameters())


def test_what_cannot_be_scored():
    with pytest.raises(MeasurementError, match="no activation"):
        nwot(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (IMAGES,))
    with pytest.raises(MeasurementError, match="two or more images"):
        nwot(rectified(), (IMAGES[:1],))
    with pytest.raises(MeasurementError, match="meta device"):
        synflow(rectified().to("meta"), (1, 4, 4))
    with pytest.raises(MeasurementError, match=r"failed on an input \(2, 3, 4, 4\)"):
        synflow(rectified(), (3, 4, 4))
