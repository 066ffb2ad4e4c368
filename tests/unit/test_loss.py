"""Losses, class weights, balanced sampling and the units of values."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import r2_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from hadnas.errors import DataError, SpecError, TrainingError
from hadnas.train.checkpoint import load_checkpoint, save_checkpoint
from hadnas.train.data.spec import Data, load_data
from hadnas.train.loss import Loss
from hadnas.train.recipe import Recipe
from hadnas.train.seeds import shuffled
from hadnas.train.trainer import Trainer, fit
from tests.pictures import LABELS, PIXELS, npz, png_folder
from tests.targets import TARGETS, target_data

KINDS = tuple(TARGETS)


def network(outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(288, outputs)
    )


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Data]:
    made = {}
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        made[kind] = target_data(tmp_path / kind, kind)
    return made


def test_weighted_losses_are_those_of_torch(data: dict[str, Data]) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, labels = torch.randn(30, 10, generator=generator), torch.arange(30) % 10
    skewed = dataclasses.replace(data["classes"], train=_with(data["classes"], LABELS[LABELS > 0][:70]))
    for recipe, weight in (
        (Recipe(class_weights=tuple(range(1, 11))), torch.arange(1.0, 11.0)),
        (Recipe(class_weights="balanced", label_smoothing=0.1), None),
    ):
        found = Loss(data["classes"] if weight is not None else skewed, recipe)
        if weight is None:
            train = skewed.train.labels.numpy()
            weight = torch.from_numpy(compute_class_weight("balanced", classes=np.arange(10), y=train)).float()
        expected = nn.CrossEntropyLoss(weight, label_smoothing=recipe.label_smoothing)(outputs, labels)
        torch.testing.assert_close(found(outputs, labels), expected)
    truth = data["labels"].train.labels
    few = (len(truth) - truth.sum(0)) / truth.sum(0)
    found = Loss(data["labels"], Recipe(class_weights="balanced"))
    expected = nn.BCEWithLogitsLoss(pos_weight=few)(outputs[:, :3], truth[:30])
    torch.testing.assert_close(found(outputs[:, :3], truth[:30]), expected)
    values = data["values"].train.labels[:30]
    scaled = (values.double() - data["values"].train.labels.double().mean(0)) / data[
        "values"
    ].train.labels.double().std(0, correction=0)
    torch.testing.assert_close(
        Loss(data["values"])(outputs[:, :2], values), F.huber_loss(outputs[:, :2], scaled.float())
    )


def _with(data: Data, labels: np.ndarray) -> Any:
    """A training split with each class, and more of those in `labels`."""
    images = data.train.images.subset(np.arange(10).repeat(8))
    images.labels = torch.from_numpy(np.concatenate([np.arange(10), labels]))
    return type(data.train)(images, data.train.normalise)


@pytest.mark.parametrize(
    ("kind", "recipe", "said"),
    [
        (
            "classes",
            Recipe(class_weights=(1.0, 2.0)),
            "class_weights has 2 numbers; allowed is one for each of 10 classes",
        ),
        ("labels", Recipe(class_weights=(1.0, 2.0)), "one for each of 3 labels"),
        ("values", Recipe(class_weights="balanced"), "class_weights is not allowed for a target of values"),
        ("values", Recipe(label_smoothing=0.1), "label_smoothing is not allowed for a target of values"),
        ("labels", Recipe(sampling="balanced"), "'balanced' is not allowed for labels"),
        ("values", Recipe(sampling="balanced"), "'balanced' is not allowed for values"),
    ],
)
def test_settings_that_do_not_fit_the_target_are_refused(kind: str, recipe: Recipe, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=said):
        Trainer(network(10), target_data(tmp_path, kind), recipe.model_copy(update={"batch": 32}), seed=0)


def test_recipes_of_before_have_the_same_stored_form() -> None:
    assert "class_weights" not in Recipe().model_dump() and "sampling" not in Recipe().model_dump_json()
    some = Recipe(class_weights=(1.0, 2.5), sampling="balanced")
    assert Recipe.model_validate_json(some.model_dump_json()) == some
    for wrong in ((1.0, -1.0), (float("inf"), 1.0), (1.0, 1e300), "even"):
        with pytest.raises(ValueError, match="class_weights"):
            Recipe(class_weights=wrong)  # type: ignore[arg-type]


def test_a_class_weight_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"class_weights has 0\.0; allowed are numbers above 0"):
        Recipe(class_weights=(1.0, 0.0))


def test_balanced_sampling_draws_each_class_as_often() -> None:
    labels = torch.cat([torch.zeros(990, dtype=torch.int64), torch.ones(10, dtype=torch.int64)])
    order = shuffled(labels, torch.Generator().manual_seed(0), balanced=True)
    assert len(order) == 1000 and 0.45 < labels[order].double().mean() < 0.55
    plain = shuffled(labels, torch.Generator().manual_seed(0), balanced=False)
    assert sorted(plain.tolist()) == list(range(1000))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ema", [None, 0.9])
def test_every_target_continues_as_if_uninterrupted(kind: str, ema: float | None, tmp_path: Path) -> None:
    """With mixup; the classes with weights and balanced sampling, too."""
    data = target_data(tmp_path, kind)
    more: dict[str, Any] = {"class_weights": "balanced", "sampling": "balanced"} if kind == "classes" else {}
    recipe = Recipe(epochs=3, batch=20, mixup=0.3, ema=ema, **more)
    weights = network(data.classes).state_dict()
    through = _made(data, recipe, weights)
    list(through.train(3))
    for until in (1, 2, 3):
        trainer = _made(data, recipe, weights)
        if until > 1:
            trainer.load(load_checkpoint(tmp_path / "training.pt"))
        list(trainer.train(until))
        save_checkpoint(trainer.state(), tmp_path / "training.pt")
    loaded = _made(data, recipe, weights)
    loaded.load(load_checkpoint(tmp_path / "training.pt"))  # of a finished training
    for other in (trainer, loaded):
        for one, two in zip(through.curve, other.curve, strict=True):
            assert dataclasses.replace(one, seconds=0) == dataclasses.replace(two, seconds=0)
        assert torch.equal(through.result.score.outputs, other.result.score.outputs)
        for key, value in through.module.state_dict().items():
            assert torch.equal(value, other.module.state_dict()[key]), key


def _made(data: Data, recipe: Recipe, weights: dict[str, Tensor]) -> Trainer:
    module = network(data.classes)
    module.load_state_dict(weights)
    return Trainer(module, data, recipe, seed=3)


def test_a_trained_network_gives_values_in_the_units_of_the_data(data: dict[str, Data]) -> None:
    torch.manual_seed(0)
    module, values = network(2), data["values"]
    result = fit(module, values, Recipe(epochs=30, batch=16), seed=0)
    images = torch.cat([images for (images,), _ in values.val.batches(64)])
    with torch.inference_mode():
        found = module.eval()(images)
    truth = values.val.labels.numpy()
    assert result.score.metrics["r2"] == pytest.approx(r2_score(truth, found.double().numpy()), abs=1e-9)
    assert result.score.metrics["r2"] > 0.5 and 500 <= float(found[:, 0].mean()) <= 9500
    again = network(2)
    again.load_state_dict(module.state_dict())
    Loss(values).unsettle(again)
    torch.testing.assert_close(Loss(values).in_own_units(again).eval()(images), found, rtol=1e-3, atol=1)


class Squared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)).square()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False)), "a bias and 2 outputs"),
        (Squared(), "not those of its last layer"),
    ],
)
def test_a_network_whose_values_cannot_be_scaled_is_refused_before_training(
    module: nn.Module, said: str, data: dict[str, Data]
) -> None:
    with pytest.raises(TrainingError, match=said):
        Trainer(module, data["values"], Recipe(batch=32), seed=0)


WRONG: dict[str, tuple[np.ndarray, str]] = {
    "nan": (np.where(np.arange(120) == 7, np.nan, 1.0 * LABELS), r"train_images\[7\]': value '0' is nan; .* finite"),
    "infinite": (np.where(np.arange(120) == 7, np.inf, 1.0 * LABELS), r"train_images\[7\].*is inf"),
    "constant": (np.full(120, 3.0), "value '0' is 3 for all 76 training images"),
    "near constant in float32": ((1e8 + 8 * (LABELS > 4)).astype(np.float32), "'0' is from 100000000 to 100000008,"),
    "near constant": (
        1e8 + LABELS * 1e-3,
        r"is 100000000\.\d+, which float32 rounds by 0\.00\d .*: train_labels -= 100000000\.00\d",
    ),
    "a label of all": (np.stack([LABELS > 4, LABELS >= 0], 1).astype(int), "label '1' is 1 for all 76 training"),
    "two": (np.stack([LABELS, LABELS > 4], 1).astype(int), r"label '0' is 2; allowed are 0 and 1"),
    "three axes": (np.zeros((120, 2, 2)), r"train_labels has shape \(120, 2, 2\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_targets_that_cannot_be_learned_are_refused_with_file_image_and_rule(name: str, tmp_path: Path) -> None:
    labels, said = WRONG[name]
    with pytest.raises(DataError, match=rf"digits\.npz: .*{said}"):
        load_data(npz(tmp_path, train_labels=labels))


def test_targets_split_at_random_and_say_so(data: dict[str, Data]) -> None:
    assert "by class, seed 0" in data["classes"].split
    for kind in ("labels", "values"):
        assert "at random, seed 0" in data[kind].split and data[kind].train.labels.dtype == torch.float32
        assert data[kind].sizes == {"train": 76, "val": 20, "test": 24}
    assert data["values"].target_mean == pytest.approx(data["values"].train.labels.double().mean(0).tolist())
    one = data["labels"].train.images.subset(np.arange(3))
    assert one.labels.shape == (3, 3) and one[0][1].shape == (3,)
    assert {d.digest for d in data.values()} == {d.digest for d in data.values()} and len(
        {d.digest for d in data.values()}
    ) == 3


def test_streamed_images_give_the_targets_that_held_ones_do(tmp_path: Path) -> None:
    from hadnas.train.data.images import HeldImages, StreamedImages

    files = sorted(png_folder(tmp_path).rglob("*.png"))[:6]
    held = torch.from_numpy(PIXELS[:6, None])
    for labels in (torch.arange(6), torch.rand(6, 2)):
        streamed = StreamedImages(files, labels, (1, 8, 8), lambda path: held[files.index(path)])
        order = torch.tensor([4, 0, 2])
        for images in (streamed, HeldImages(held, labels)):
            (pixels,), found = next(images.batches(3, torch.device("cpu"), order))
            assert (
                torch.equal(found, labels[order]) and found.dtype == labels.dtype and torch.equal(pixels, held[order])
            )
