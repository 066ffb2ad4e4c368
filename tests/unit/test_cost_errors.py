"""What the counter leaves alone, and what it says of a module it cannot count."""

import pytest
import torch
from torch import nn

from hadnas.errors import MeasurementError
from hadnas.measure.cost import cost


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def state(module: nn.Module):
    return {k: (v.data_ptr(), v._version, v.clone()) for k, v in module.state_dict().items()}


def test_the_module_stays_as_it_is():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.Dropout(0.5), nn.ReLU(inplace=True)))
    net[1].eval()
    before, modes, random = state(net), [m.training for m in net.modules()], torch.get_rng_state()
    cost(net, (3, 8, 8))
    after = state(net)
    assert all(after[k][:2] == v[:2] and torch.equal(after[k][2], v[2]) for k, v in before.items())
    assert [m.training for m in net.modules()] == modes == [True, True, False, True, True, True]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())
    assert net(torch.ones(2, 3, 8, 8)).device.type == "cpu"


def test_what_a_forward_pass_stores_stays_in_the_copy():
    class Caching(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.ones(4)  # neither parameter nor buffer

        def forward(self, x):
            self.last = x * self.table
            return self.last

    net = Caching()
    assert cost(net, (3, 8, 4)).elementwise == 96
    assert not hasattr(net, "last") and net.table.device.type == "cpu"


def test_a_module_on_meta_keeps_its_modes():
    net = nn.Sequential(nn.Conv2d(3, 4, 1, device="meta"), nn.Dropout()).train()
    net[1].eval()
    cost(net, (3, 8, 8))
    assert [m.training for m in net.modules()] == [True, True, False]


def test_same_on_meta_with_weights_and_in_half_precision():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU())
    real = cost(net, (3, 8, 8))
    assert cost(net.half(), (3, 8, 8)).macs == real.macs
    assert cost(net.float().to("meta"), (3, 8, 8)) == real


def test_an_exception_the_module_catches_does_not_spoil_the_paths():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.bad, self.good = nn.Conv2d(9, 9, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            try:
                return self.bad(x)
            except RuntimeError:
                return self.good(x) + 1

    found = cost(Careful(), (3, 2, 2))
    assert found.by_module["good"].macs == 36 and found.by_module["good"].elementwise == 0
    assert found.by_module["bad"].macs == 0 and found.elementwise == 12


FAILING = {
    "tuple": (lambda x: (x, x), r"\(Sequential\) .*tuple.*one tensor"),
    "dict": (lambda x: {"out": x}, "returns a dict"),
    "nothing": (lambda x: None, "returns a NoneType"),
    "if": (lambda x: x if x.sum() > 0 else -x, r"2\.1 \(Apply\): .*data-dependent control flow"),
    "item": (lambda x: x * x.mean().item(), r"2\.1 \(Apply\): .*data-dependent control flow"),
    "nonzero": (lambda x: x.nonzero().float(), r"2\.1 \(Apply\): .*data-dependent"),
    "mask": (lambda x: x[x > 0], r"2\.1 \(Apply\): .*data-dependent shape"),
    "shape": (lambda x: x @ x, r"2\.1 \(Apply\): .*\(1, 3, 8, 6\): RuntimeError"),
    "own error": (lambda x: {}["scale"], r"2\.1 \(Apply\): .*KeyError"),
    "numpy": (lambda x: torch.from_numpy(x.numpy()), r"2\.1 \(Apply\): .*\(1, 3, 8, 6\)"),
}


@pytest.mark.parametrize(("function", "message"), FAILING.values(), ids=FAILING.keys())
def test_a_module_that_cannot_be_counted(function, message):
    net = nn.Sequential(nn.ReLU(), nn.Identity(), nn.Sequential(nn.Identity(), Apply(function)))
    with pytest.raises(MeasurementError, match=message):
        cost(net, (3, 8, 6))
    assert nn.Identity()(torch.ones(1)).item() == 1  # no hook is left behind
    assert cost(nn.ReLU(), (3, 8, 6)).elementwise == 144


def test_a_channel_mismatch_names_the_convolution():
    net = nn.Sequential()
    net.add_module("stem", nn.Sequential(nn.ReLU(), nn.Conv2d(4, 8, 3)))
    with pytest.raises(MeasurementError, match=r"stem\.1 \(Conv2d\): .* meta input \(1, 3, 8, 8\)"):
        cost(net, (3, 8, 8))


@pytest.mark.parametrize("shape", [(3, 8), (3, 0, 8), (3, 8.0, 8), (1, 3, 8, 8)])
def test_a_shape_that_is_none(shape):
    with pytest.raises(MeasurementError, match=r"allowed are \(C, H, W\) .* positive integers"):
        cost(nn.ReLU(), shape)


def test_a_lazy_module_and_one_that_cannot_be_copied():
    with pytest.raises(MeasurementError, match=r"'weight'"):
        cost(nn.LazyConv2d(4, 3), (3, 8, 8))
    net = nn.Conv2d(3, 3, 1)
    net.stream = open(__file__)  # noqa: SIM115
    try:
        with pytest.raises(MeasurementError, match=r"\(Conv2d\) .*copied"):
            cost(net, (3, 8, 8))
    finally:
        net.stream.close()
