"""A training that is stopped and goes on from its file is, to the last bit, the one that was not stopped."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from hadnas.errors import SpecError, StudyError, TrainingError
from hadnas.train.checkpoint import load_checkpoint, save_checkpoint
from hadnas.train.data.images import Split
from hadnas.train.data.spec import Data, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import Epoch, Trainer, fit


@pytest.fixture(scope="module")
def data() -> Data:
    """90 digits to train on, and 60 to be scored on."""
    digits = load_data("digits")
    train, val = (
        Split(split.images.subset(np.arange(n)), split.normalise) for split, n in ((digits.train, 90), (digits.val, 60))
    )
    return dataclasses.replace(digits, train=train, val=val)


class Noise(nn.Module):
    """Draws from the generators of numpy and Python, as a block of a user may."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        self.drawn += [np.random.normal(scale=0.1), random.gauss(0, 0.1)]
        return x * (1 + sum(self.drawn[-2:]))


def network(*extra: nn.Module, width: int = 4) -> nn.Sequential:
    """Freshly initialised. The strides of its second convolution depend on the memory format."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *extra,
        nn.Conv2d(width, 8, 2, stride=2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def curve(trainer: Trainer) -> list[Epoch]:
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in trainer.curve]


RECIPES = {
    "adamw, channels-last": Recipe(channels_last=True),
    "adamw, contiguous": Recipe(channels_last=False),
    "mixup": Recipe(mixup=0.5),
    "policy": Recipe(augment="rand-m5-n1-mstd0.5"),
    "average": Recipe(ema=0.9),
    "everything": Recipe(ema=0.9, augment="shift_flip", mixup=0.2, label_smoothing=0.1, amp="bf16", schedule="linear"),
    "lamb, linear": Recipe(optimizer="lamb", schedule="linear"),
    "lion, wsd": Recipe(optimizer="lion", schedule="wsd", lr=1e-3),
    "sgd, constant": Recipe(optimizer="sgd", schedule="constant", lr=0.05),
    "momentum of another type": Recipe(optimizer="adafactorbv", lr=0.01),
    "an optimiser with a generator": Recipe(optimizer="adahessian", lr=0.01),
}


@pytest.mark.filterwarnings("ignore:Using backward")  # adahessian
@pytest.mark.parametrize("name", RECIPES)
def test_continued_equals_uninterrupted(name: str, data: Data, tmp_path: Path) -> None:
    """Stopped after every epoch, each part with another fresh module; a last batch of 26 images is incomplete."""
    recipe, extra = RECIPES[name].model_copy(update={"epochs": 3, "batch": 32}), (nn.Dropout(0.2), DropPath(0.2))
    torch.manual_seed(0)
    first = network(*extra)
    weights = {key: value.clone() for key, value in first.state_dict().items()}
    through = Trainer(first, data, recipe, seed=7)
    assert [epoch.epoch for epoch in through.train(3)] == [1, 2, 3]
    stopped = network(*extra)
    stopped.load_state_dict(weights)
    trainer = Trainer(stopped, data, recipe, seed=7)
    for until in (1, 2, 3):
        assert [epoch.epoch for epoch in trainer.train(until)] == [until]
        save_checkpoint(trainer.state(), tmp_path / "training.pt")
        stopped = network(*extra)
        trainer = Trainer(stopped, data, recipe, seed=7)
        trainer.load(load_checkpoint(tmp_path / "training.pt"))
    assert curve(trainer) == curve(through) and trainer.result.score.loss == through.result.score.loss
    assert trainer.result.seconds > sum(epoch.seconds for epoch in trainer.curve) > 0
    assert list(trainer.train(3)) == [] and not stopped.training
    for key, value in first.state_dict().items():
        assert torch.equal(value, stopped.state_dict()[key]) and stopped.state_dict()[key].is_contiguous(), key


def test_draws_of_python_and_numpy_go_on(data: Data, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch=32)
    torch.manual_seed(0)
    weights = network(Noise()).state_dict()
    ends = []
    for stop in (False, True):
        module = network(Noise())
        module.load_state_dict(weights)
        trainer = Trainer(module, data, recipe, seed=7)
        list(trainer.train(1))
        if stop:
            save_checkpoint(trainer.state(), tmp_path / "training.pt")
            module = network(Noise())
            trainer = Trainer(module, data, recipe, seed=7)
            trainer.load(load_checkpoint(tmp_path / "training.pt"))
        list(trainer.train(2))
        ends.append(curve(trainer))
    assert ends[0] == ends[1]


def test_state_that_comes_contiguous_takes_the_strides_of_its_parameter(data: Data) -> None:
    """As safetensors gives it: beside channels-last parameters a fused update pairs the wrong numbers."""

    def contiguous(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: contiguous(each) for key, each in value.items()}
        return value.clone(memory_format=torch.contiguous_format) if isinstance(value, Tensor) else value

    recipe = Recipe(epochs=2, batch=32, channels_last=True, ema=0.9)
    torch.manual_seed(0)
    through = Trainer(network(), data, recipe, seed=7)
    list(through.train(1))
    state = contiguous(through.state())
    list(through.train(2))
    trainer = Trainer(network(), data, recipe, seed=7)
    trainer.load(state)
    moment = trainer.optimizer.state[trainer.module[3].weight]["exp_avg"]  # type: ignore[index]
    assert moment.stride() == trainer.module[3].weight.stride() != state["optimizer"]["state"][1]["exp_avg"].stride()  # type: ignore[index]
    list(trainer.train(2))
    assert curve(trainer) == curve(through)


def test_a_loaded_state_is_copied(data: Data) -> None:
    recipe = Recipe(epochs=2, batch=32, ema=0.9)
    one = Trainer(network(), data, recipe, seed=7)
    list(one.train(1))
    two = Trainer(network(), data, recipe, seed=7)
    two.load(one.state())
    list(one.train(2))
    list(two.train(2))
    assert curve(one) == curve(two)


def test_global_generators_are_the_callers_while_none_is_training(data: Data) -> None:
    def draws() -> tuple[float, float, float]:
        return float(torch.rand(1)), np.random.rand(), random.random()

    def seed() -> None:
        torch.manual_seed(3), np.random.seed(3), random.seed(3)

    recipe = Recipe(epochs=2, batch=32, mixup=0.2)
    seed()
    expected = [draws(), draws()]
    curves = []
    for interfere in (True, False):
        torch.manual_seed(0)
        module = network(nn.Dropout(0.2), noise := Noise())
        seed()
        trainer = Trainer(module, data, recipe, seed=7)
        for number, _ in enumerate(trainer.train(2)):
            if interfere:
                assert draws() == expected[number]
        curves.append(curve(trainer))
        assert len(set(noise.drawn)) == len(noise.drawn) == 2 * 2 * 3  # no epoch draws what another has drawn
    assert curves[0] == curves[1]


def test_an_epoch_cut_short_gives_no_state_and_a_load_mends_it(data: Data, tmp_path: Path) -> None:
    class Stopping(nn.Module):
        stop = False

        def forward(self, x: Tensor) -> Tensor:
            if self.stop:
                raise KeyboardInterrupt
            return x

    recipe = Recipe(epochs=2, batch=32)
    torch.manual_seed(0)
    stopping = Stopping()
    trainer = Trainer(network(stopping), data, recipe, seed=7)
    list(trainer.train(1))
    save_checkpoint(trainer.state(), tmp_path / "training.pt")
    stopping.stop = True
    with pytest.raises(KeyboardInterrupt):
        list(trainer.train(2))
    for refused in (trainer.state, lambda: list(trainer.train(2))):
        with pytest.raises(TrainingError, match="epoch 2 was interrupted"):
            refused()
    stopping.stop = False
    trainer.load(load_checkpoint(tmp_path / "training.pt"))
    list(trainer.train(2))
    torch.manual_seed(0)
    assert curve(trainer) == [dataclasses.replace(e, seconds=0) for e in fit(network(), data, recipe, seed=7).curve]


def test_an_epoch_beyond_the_recipe_is_refused(data: Data) -> None:
    trainer = Trainer(network(), data, Recipe(epochs=2, batch=32), seed=7)
    for until in (0, 3):
        with pytest.raises(SpecError, match=f"until = {until} .* 1 to 2"):
            list(trainer.train(until))


def test_a_checkpoint_of_another_training_is_refused(data: Data) -> None:
    recipe = Recipe(epochs=2, batch=32)
    trainer = Trainer(network(), data, recipe, seed=7)
    list(trainer.train(1))
    state = trainer.state()
    faster = recipe.model_copy(update={"lr": 0.01})
    others = {
        r"recipe\.lr is 0\.004; allowed is 0\.01": Trainer(network(), data, faster, seed=7),
        "seed is 7; allowed is 8": Trainer(network(), data, recipe, seed=8),
        "data is '.*'; allowed is 'b'": Trainer(network(), dataclasses.replace(data, digest="b"), recipe, seed=7),
        r"module\.0\.weight is '\(4, 1, 3, 3\).*; allowed is '\(5, 1": Trainer(network(width=5), data, recipe, seed=7),
        r"module\.4\.weight is None; allowed is": Trainer(network(nn.ReLU()), data, recipe, seed=7),
    }
    for said, other in others.items():
        before = [value.clone() for value in other.module.state_dict().values()]
        with pytest.raises(SpecError, match=f"of another training: its {said}"):
            other.load(state)
        assert all(map(torch.equal, before, other.module.state_dict().values()))
    for version in (0, None):
        with pytest.raises(SpecError, match=f"version {version}; allowed is 2"):
            trainer.load({**state, "version": version})


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_a_malformed_state_is_refused_before_any_change(data: Data) -> None:
    trainer = Trainer(network(), data, Recipe(epochs=2, batch=32), seed=7)
    list(trainer.train(1))
    state, other = trainer.state(), Trainer(network(), data, Recipe(epochs=2, batch=32), seed=7)
    before = [value.clone() for value in other.module.state_dict().values()]
    for name in ("training", "module", "optimizer", "generator", "global generators", "curve", "seconds"):
        for bad in ({key: value for key, value in state.items() if key != name}, {**state, name: "x"}):
            with pytest.raises(SpecError, match=f"lacks {name}"):
                other.load(bad)
    assert all(torch.equal(*pair) for pair in zip(before, other.module.state_dict().values(), strict=True))


def test_a_damaged_checkpoint_is_refused_and_runs_nothing(
    data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Trainer(network(), data, Recipe(epochs=2, batch=32), seed=7)
    path = tmp_path / "training.pt"
    save_checkpoint(trainer.state(), path)
    whole = path.read_bytes()
    place = whole.index(trainer.module.state_dict()["0.weight"].numpy().tobytes()) + 5
    flipped = bytearray(whole)
    flipped[place] ^= 1
    for content in (bytes(flipped), whole[: len(whole) // 2], b"", b"no checkpoint"):
        path.write_bytes(content)
        with pytest.raises(SpecError, match=r"training\.pt (is damaged|cannot be read)"):
            load_checkpoint(path)
    for other in ([1], Evil()):
        torch.save(other, path)
        with pytest.raises(SpecError, match=r"training\.pt (is a list|cannot be read)"):
            load_checkpoint(path)
    assert capsys.readouterr().out == ""


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(data: Data, tmp_path: Path) -> None:
    path = tmp_path / "below" / "training.pt"
    save_checkpoint({"n": 1}, path)
    path.with_name("training.pt.part").mkdir()
    with pytest.raises(StudyError, match=r"training\.pt cannot be written: .*directory"):
        save_checkpoint({"n": 2}, path)
    assert load_checkpoint(path) == {"n": 1}


@pytest.mark.parametrize(("decay", "constant"), [(None, 6), (0.5, 4)])
def test_wsd_is_constant_until_it_decays(data: Data, decay: float | None, constant: int) -> None:
    recipe = Recipe(epochs=8, batch=90, schedule="wsd", decay=decay, lr=0.01, warmup_epochs=2)
    rates = [epoch.lr for epoch in fit(network(), data, recipe, seed=7).curve]
    left = range(8 - constant, 0, -1)
    expected = [0.0001, 0.00505, *[0.01] * (constant - 2), *(0.01 * steps / len(left) for steps in left)]
    assert rates == pytest.approx(expected)
