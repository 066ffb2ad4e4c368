"""Training on the real digits: it learns, repeats, scores what it keeps, and fails with a reason."""

import copy

import numpy as np
import pytest
import timm
import torch
from scipy.stats import beta
from torch import Tensor, nn

from hadnas.errors import DataError, MachineError, TrainingError
from hadnas.measure.metrics.error import standard_error
from hadnas.train.data.spec import Data, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.score import score_module
from hadnas.train.trainer import Epoch, Fit, Trainer, fit


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data("digits")


def network(width: int = 6, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(32 * width, 10),
    )


EVERYTHING = Recipe(epochs=2, ema=0.9, augment="shift_flip", mixup=0.2, label_smoothing=0.1)


def test_a_small_network_learns_digits(digits: Data) -> None:
    epochs: list[Epoch] = []
    module = network(16)
    result = fit(module, digits, Recipe(epochs=5), seed=0, on_epoch=epochs.append)
    assert result.score.accuracy > 0.95
    assert result.score.n == 288
    assert epochs == result.curve and [epoch.epoch for epoch in epochs] == [1, 2, 3, 4, 5]
    assert epochs[-1].train_loss < epochs[0].train_loss / 3
    assert epochs[0].lr > epochs[-1].lr > 0
    assert sum(epoch.seconds for epoch in epochs) < result.seconds
    score = score_module(module, digits, "test")
    assert score.n == 360 and score.accuracy > 0.93


@pytest.mark.parametrize("n", [1, 7, 360])
def test_a_standard_error_is_that_of_the_posterior_and_never_0(n: int) -> None:
    for right in {0, 1, n // 2, n}:
        posterior = beta(right + 0.5, n - right + 0.5)
        assert standard_error(right / n, n) == pytest.approx(posterior.std(), rel=1e-9)
    drawn = np.random.default_rng(2).binomial(1000, 0.9, size=200_000) / 1000
    assert standard_error(0.9, 1000) == pytest.approx(drawn.std(), rel=0.01)


@pytest.mark.parametrize("recipe", [Recipe(epochs=2), EVERYTHING, Recipe(epochs=1, channels_last=True, amp="bf16")])
def test_the_module_keeps_the_weights_that_were_scored(digits: Data, recipe: Recipe) -> None:
    module = network()
    result = fit(module, digits, recipe, seed=0)
    again = score_module(module, digits)
    assert (again.accuracy, again.loss) == (result.score.accuracy, result.score.loss)
    assert (result.curve[-1].val_accuracy, result.curve[-1].val_loss) == (result.score.accuracy, result.score.loss)
    assert not module.training
    assert all(weight.is_contiguous() for weight in module.state_dict().values())


def test_the_last_epoch_is_scored_even_when_it_is_not_the_best(digits: Data) -> None:
    result = fit(network(4), digits, Recipe(epochs=10, lr=0.3, schedule="constant", warmup_epochs=0), seed=1)
    accuracies = [epoch.val_accuracy for epoch in result.curve]
    assert max(accuracies) > accuracies[-1] == result.score.accuracy


@pytest.mark.parametrize("recipe", [Recipe(epochs=2), EVERYTHING])
def test_same_seed_same_bits_and_global_generators_untouched(digits: Data, recipe: Recipe) -> None:
    def trained(seed: int) -> tuple[list[tuple[float, float, float]], dict[str, Tensor]]:
        module = network(dropout=0.3)
        curve = fit(module, digits, recipe, seed=seed).curve
        return [(epoch.train_loss, epoch.val_loss, epoch.val_accuracy) for epoch in curve], module.state_dict()

    first_curve, first = trained(7)
    torch.manual_seed(99), np.random.seed(99)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(99), np.random.seed(99)
    module = network(dropout=0.3)
    torch.manual_seed(99)
    again = fit(module, digits, recipe, seed=7).curve
    assert (torch.rand(1), np.random.rand()) == expected
    assert [(epoch.train_loss, epoch.val_loss, epoch.val_accuracy) for epoch in again] == first_curve
    assert all(torch.equal(first[name], weight) for name, weight in module.state_dict().items())
    assert trained(8)[0] != first_curve


def test_averaged_weights_differ_and_are_the_ones_scored(digits: Data) -> None:
    plain, averaged = network(), network()
    fit(plain, digits, Recipe(epochs=2), seed=0)
    fit(averaged, digits, Recipe(epochs=2, ema=0.99), seed=0)
    assert not torch.equal(plain[0].weight, averaged[0].weight)
    assert averaged[1].num_batches_tracked == plain[1].num_batches_tracked == 36


def test_a_divergence_names_epoch_step_and_loss(digits: Data) -> None:
    with pytest.raises(TrainingError, match=r"diverged: epoch 1, step [23] of 18: loss is (nan|inf)"):
        fit(network(), digits, Recipe(optimizer="sgd", lr=1e38, warmup_epochs=0, clip_grad=None), seed=0)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "^out of memory: CUDA out of memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered\nmore"), "^CUDA error: .* encountered$"),
        (OSError(12, "Cannot allocate memory"), r"^OSError: \[Errno 12\] Cannot allocate memory$"),
        (RuntimeError("Too many open files. Communication with the workers is"), "^Too many open files"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "^DataLoader worker .*Killed"),
    ],
)
def test_what_the_machine_does_wrong_is_told_apart(digits: Data, error: Exception, message: str) -> None:
    class Failing(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            raise error

    with pytest.raises(MachineError, match=message):
        fit(Failing(64, 10), digits, Recipe(epochs=1), seed=0)


def test_running_out_of_memory_is_no_fault_of_the_module(digits: Data) -> None:
    class Huge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, images: Tensor) -> Tensor:
            return self.scale * images.flatten(1)[:, :1].expand(-1, 1 << 45).contiguous()

    with pytest.raises(MachineError, match="out of memory"):
        fit(Huge(), digits, Recipe(epochs=1), seed=0)


def test_other_errors_of_the_module_and_of_on_epoch_arrive_untouched(digits: Data) -> None:
    class Pruned(RuntimeError):
        pass

    def prune(epoch: Epoch) -> None:
        raise Pruned("not enough memory of this")

    with pytest.raises(Pruned):
        fit(network(4), digits, Recipe(epochs=3), seed=0, on_epoch=prune)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(65, 10)), digits, Recipe(epochs=1), seed=0)


def test_a_wrong_output_or_a_batch_beyond_the_data_is_refused(digits: Data) -> None:
    with pytest.raises(TrainingError, match=r"\(64, 9\) .*\(64, 10\)"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), digits, Recipe(epochs=1), seed=0)
    module = network()
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(DataError, match=r"batch 2000 .* 2 to 1149"):
        fit(module, digits, Recipe(batch=2000), seed=0)
    assert all(torch.equal(before[name], weight) for name, weight in module.state_dict().items())


class Recorder(nn.Module):
    """A linear classifier that remembers the batches it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.batches: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.batches.append(images.clone())
        return self.linear(images.flatten(1))


def trained_on(data: Data, recipe: Recipe) -> list[Tensor]:
    recorder = Recorder()
    fit(recorder, data, recipe, seed=0)
    return recorder.batches


def test_a_last_batch_of_one_image_is_left_out_and_of_two_is_not(digits: Data) -> None:
    sizes = [len(batch) for batch in trained_on(digits, Recipe(epochs=1, batch=82))]
    assert sizes == [82] * 14  # 1149 = 14 * 82 + 1
    sizes = [len(batch) for batch in trained_on(digits, Recipe(epochs=1, batch=37))]
    assert sizes == [37] * 31 + [2]
    sizes = [len(batch) for batch in trained_on(digits, Recipe(epochs=1, batch=82, mixup=1.0))]
    assert sizes == [82] * 14


def test_every_epoch_shuffles_and_sees_every_image(digits: Data) -> None:
    batches = torch.cat(trained_on(digits, Recipe(epochs=2, batch=37))).flatten(1)
    first, second = batches.split(1149)
    assert not torch.equal(first, second)
    whole = torch.cat([images for (images,), _ in digits.train.batches(500)]).flatten(1)
    for seen in (first, second):
        assert torch.equal(seen.sort(0).values, whole.sort(0).values)


def test_shifts_move_each_image_by_at_most_a_pixel_and_repeat_its_edge(digits: Data) -> None:
    plain = torch.cat(trained_on(digits, Recipe(epochs=1)))
    order = torch.randperm(1149, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain, next(digits.train.batches(1149, order=order))[0][0])
    shifted = torch.cat(trained_on(digits, Recipe(epochs=1, augment="shift")))
    padded = nn.functional.pad(plain, (1, 1, 1, 1), mode="replicate")
    views = [padded[..., top : top + 8, left : left + 8] for top in range(3) for left in range(3)]
    same = torch.stack([(view == shifted).flatten(1).all(1) for view in views])
    assert same.any(0).all()
    assert (same.float().mean(1) > 0.07).all()  # nine shifts, equally often
    flipped = torch.cat(trained_on(digits, Recipe(epochs=1, augment="shift_flip")))
    kept = torch.stack([(view == flipped).flatten(1).all(1) for view in views]).any(0)
    mirrored = torch.stack([(view.flip(-1) == flipped).flatten(1).all(1) for view in views]).any(0)
    assert (kept | mirrored).all() and 0.4 < mirrored.float().mean() < 0.6


def test_norms_biases_and_single_numbers_are_not_decayed(digits: Data) -> None:
    module = network()
    module.register_parameter("alpha", nn.Parameter(torch.zeros(1, 1, 1, 1)))
    module.no_weight_decay = lambda: {"8.weight"}  # type: ignore[assignment]
    trainer = Trainer(module, digits, Recipe(), seed=0)
    decayed = {id(p) for g in trainer.optimizer.param_groups if g["weight_decay"] > 0 for p in g["params"]}
    assert {name for name, p in module.named_parameters() if id(p) in decayed} == {"0.weight", "3.weight"}


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_layers_nearer_to_the_image_have_smaller_rates(digits: Data, schedule: str) -> None:
    """By timm's groups, in every step; the rate of an epoch is that of the last layer."""
    recipe = Recipe(epochs=2, warmup_epochs=0, layer_decay=0.5, schedule=schedule, lr=0.01)
    module = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    trainer = Trainer(module, digits, recipe, seed=0)

    def rates() -> dict[str, float]:
        found = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
        return {name: found[id(p)] for name, p in module.named_parameters()}

    assert rates()["fc.weight"] == rates()["fc.bias"] == pytest.approx(0.01)
    assert rates()["layer4.0.conv1.weight"] == pytest.approx(0.005)
    assert 0 < rates()["conv1.0.weight"] < rates()["layer1.0.conv1.weight"] < 0.005
    undecayed = {id(p) for g in trainer.optimizer.param_groups if not g["weight_decay"] for p in g["params"]}
    assert {p.ndim <= 1 for p in module.parameters() if id(p) in undecayed} == {True}
    first, second = trainer.train(2)
    assert first.lr > second.lr and second.lr >= max(rates().values())
    assert rates()["layer4.0.conv1.weight"] == pytest.approx(0.5 * rates()["fc.weight"])


@pytest.mark.filterwarnings("ignore:Using backward")  # adahessian; the gradients are set to None after each step
@pytest.mark.parametrize("optimizer", ["sgd", "lamb", "muon", "adahessian"])
def test_other_optimizers_train(digits: Data, optimizer: str) -> None:
    result: Fit = fit(Recorder(), digits, Recipe(epochs=2, optimizer=optimizer, lr=0.02), seed=0)
    assert result.score.accuracy > 0.3


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_schedules_warm_up_then_follow_their_name(digits: Data, schedule: str) -> None:
    recipe = Recipe.model_validate({"epochs": 4, "schedule": schedule, "lr": 0.01, "warmup_epochs": 1})
    rates = [epoch.lr for epoch in fit(Recorder(), digits, recipe, seed=0).curve]
    last = {"cosine": 0.0, "linear": 0.0, "constant": 0.01}[schedule]
    assert rates[0] == pytest.approx(0.01, rel=0.1)
    assert rates[-1] == pytest.approx(last, abs=3e-4)
    assert rates == sorted(rates, reverse=True) or schedule == "constant"
