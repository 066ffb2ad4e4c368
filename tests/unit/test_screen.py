"""The screen: what it sees, what it rejects and what it leaves alone."""

import copy
import math

import pytest
import torch
from torch import nn

from hadnas.errors import MeasurementError
from hadnas.measure.screen import (
    DEAD_ACTIVATION,
    EXPLODING_ACTIVATION,
    EXPLODING_GRADIENT,
    EXPLODING_UPDATE,
    UPDATES,
    screen,
)

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % 4


class Merge(nn.Module):
    """x + f(x) + alpha * scale * x * f(x)."""

    def __init__(self, scale=1.0, norm=True):
        super().__init__()
        self.f = nn.Conv2d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.alpha = nn.Parameter(torch.full((), 0.25))
        self.scale = scale

    def forward(self, x):
        y = self.norm(self.f(x))
        return x + y + self.alpha * self.scale * x * y


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def net(*middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        *middle,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


def test_a_sound_network_passes():
    found = screen(net(Merge(), nn.ReLU(), Merge()), (IMAGES,), LABELS)
    assert found.rejected is None
    assert set(found.losses) == {0.0, 1.0} and all(math.isfinite(v) for v in found.losses.values())
    assert [s.path for s in found.signals[:6]] == ["0", "1", "2.f", "2.norm", "2", "3"]
    assert {s.alpha for s in found.signals} == {0.0, 1.0}
    assert all(s.not_finite == 0 and s.gradient_not_finite == 0 for s in found.signals)


def test_the_figures_are_those_taken_by_hand():
    module = net(nn.Tanh())
    found = {s.path: s for s in screen(module, (IMAGES,), LABELS).signals}
    module.train()
    maps, outs = IMAGES, {}
    for path, layer in module.named_children():
        maps = outs[path] = layer(maps)
        maps.retain_grad()
    loss = nn.functional.cross_entropy(maps, LABELS)
    loss.backward()
    for path, out in outs.items():
        assert found[path].activation_std == pytest.approx(float(out.detach().std(correction=0)), rel=1e-4)
        assert found[path].gradient_std == pytest.approx(float(out.grad.std(correction=0)), rel=1e-4)
        assert found[path].alpha is None and found[path].size == out.numel()


REJECTED = {
    "overflow": (
        [Times(1e39)],
        r"^2 \(Times\): \d+ of 3072 activations are not finite \(none may be\)",
    ),
    "explosion": (
        [Times(1e6)],
        rf"^2 \(Times\): activations explode: std .*e\+06 \(bound {EXPLODING_ACTIVATION:g}\)",
    ),
    "explosion that a norm hides, seen backward": (
        [nn.Conv2d(6, 6, 1), Times(1e-7), nn.BatchNorm2d(6, eps=1e-30)],
        rf"^3 \(Times\): gradients explode: .* \(bound {EXPLODING_GRADIENT:g}\)",
    ),
    "dead signal": (
        [Times(0.0), nn.BatchNorm2d(6)],
        rf"^6 \(Linear\): dead signal: .* \(bound {DEAD_ACTIVATION:g}\)",
    ),
    "explodes once the product is on": (
        [Merge(1e9, norm=False)],
        r"^2 \(Merge\) at alpha = 1: activations explode",
    ),
}


@pytest.mark.parametrize(("middle", "reason"), REJECTED.values(), ids=REJECTED.keys())
def test_what_is_rejected_and_why(middle, reason):
    import re

    found = screen(net(*middle), (IMAGES,), LABELS)
    assert found.rejected is not None and re.search(reason, found.rejected), found.rejected


def test_a_gradient_that_does_not_arrive_is_dead():
    class Detached(nn.Module):
        def forward(self, x):
            return x.detach() + 1e-20 * x

    found = screen(net(Detached()), (IMAGES,), LABELS)
    assert found.rejected is not None and found.rejected.startswith("0 (Conv2d): dead gradient: at most")


def test_a_head_that_starts_at_zero_is_no_fault():
    module = net(Merge())
    nn.init.zeros_(module[-1].weight)
    assert screen(module, (IMAGES,), LABELS).rejected is None


def test_a_branch_that_starts_at_zero_is_no_fault():
    module = net(Merge())
    nn.init.zeros_(module[2].norm.weight)
    assert screen(module, (IMAGES,), LABELS).rejected is None


def test_deep_raw_products_are_rejected_and_normalised_ones_are_not():
    class Product(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.f, self.g = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
            self.norm = nn.BatchNorm2d(6) if norm else Times(4.0)

        def forward(self, x):
            return x + self.norm(self.f(x) * self.g(x))

    assert screen(net(*[Product(norm=True) for _ in range(8)]), (IMAGES,), LABELS).rejected is None
    assert screen(net(*[Product(norm=False) for _ in range(8)]), (IMAGES,), LABELS).rejected is not None


def test_the_dtype_of_training_decides():
    large = net(Times(3e4), Times(1e-4))  # float16 ends at 65,504, and a conv output has values beyond two deviations
    assert "explode" in str(screen(large, (IMAGES,), LABELS).rejected)
    overflowing = net(nn.Conv2d(6, 6, 1))
    with torch.no_grad():
        overflowing[2].weight.fill_(2e4)
    assert "not finite" in str(screen(overflowing, (IMAGES,), LABELS, dtype=torch.float16).rejected)
    assert "explode" in str(screen(overflowing, (IMAGES,), LABELS, dtype=torch.bfloat16).rejected)
    assert screen(net(Merge()), (IMAGES,), LABELS, dtype=torch.bfloat16).rejected is None


def test_everything_is_left_as_it_was():
    module = net(Merge(), nn.Dropout(0.5)).eval()
    module[0].weight.grad = torch.ones_like(module[0].weight)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    random = torch.get_rng_state()
    first = screen(module, (IMAGES,), LABELS)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert module[2].alpha.item() == 0.25 and module[2].alpha.grad is None
    assert bool((module[0].weight.grad == 1).all()) and not any(m.training for m in module.modules())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in module.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert screen(module, (IMAGES,), LABELS) == first  # also with dropout


def test_bad_input():
    with pytest.raises(MeasurementError, match="B >= 2"):
        screen(net(), (IMAGES[:1],), LABELS[:1])
    with pytest.raises(MeasurementError, match="B >= 2"):
        screen(net(), (IMAGES,), LABELS[:3])
    with pytest.raises(MeasurementError, match="meta device"):
        screen(net().to("meta"), (IMAGES,), LABELS)
    with pytest.raises(MeasurementError, match=r"2 \(Conv2d\): .*\(8, 3, 8, 8\): RuntimeError"):
        screen(net(nn.Conv2d(5, 6, 1)), (IMAGES,), LABELS)


def test_what_cannot_be_copied_or_updated_is_said():
    with pytest.warns(FutureWarning, match="weight_norm"):
        normed = nn.utils.weight_norm(nn.Conv2d(6, 6, 1))
    with pytest.raises(MeasurementError, match=r"\(Sequential\) .*: Only Tensors"):
        screen(net(normed), (IMAGES,), LABELS)

    class Complex(nn.Module):  # an optimiser moves it, the sign of its gradient does not exist
        def __init__(self):
            super().__init__()
            self.turn = nn.Parameter(torch.ones((), dtype=torch.complex64))

        def forward(self, x):
            return (x * self.turn).real

    assert screen(net(Complex()), (IMAGES,), LABELS).rejected is None
    with pytest.raises(MeasurementError, match=r"\(Sequential\): .*sign"):
        screen(net(Complex()), (IMAGES,), LABELS, lr=1e-3)


def test_trial_updates_see_a_learning_rate_that_is_too_high():
    class Power(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Conv2d(6, 6, 1)

        def forward(self, x):
            return x + self.f(x) ** 3

    module = net(Merge(), Power())
    before = {k: v.clone() for k, v in module.state_dict().items()}
    assert screen(module, (IMAGES,), LABELS).rejected is None
    sound = screen(module, (IMAGES,), LABELS, lr=1e-3)
    assert sound.rejected is None and sound == screen(module, (IMAGES,), LABELS)
    said = str(screen(module, (IMAGES,), LABELS, lr=3.0).rejected)
    assert "after 3 updates of 3: " in said and ("explode" in said or "not finite" in said), said
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


def test_trial_updates_are_signed_steps_from_the_start():
    module = net(Merge(0.5))
    twin = copy.deepcopy(module)
    for _ in range(UPDATES):
        twin.zero_grad()
        nn.functional.cross_entropy(twin.train()(IMAGES), LABELS).backward()
        with torch.no_grad():
            for p in twin.parameters():
                p -= 30.0 * p.grad.sign()
    stds = {}
    for path, sub in twin.named_modules():
        sub.register_forward_hook(
            lambda m, i, out, path=path: stds.update({path: float(out.detach().std(correction=0))})
        )
    twin(IMAGES)
    first = next(path for path in stds if stds[path] > EXPLODING_UPDATE)
    said = str(screen(module, (IMAGES,), LABELS, lr=30.0).rejected)
    assert said.startswith(f"{first} (") and f"std {stds[first]:.3g} (bound {EXPLODING_UPDATE:g})" in said
