"""The summary of a data set: true, short for any number of classes, and readable at 80 columns."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import log_loss, mean_absolute_error, r2_score

from hadnas.shell.console import PlainConsole
from hadnas.shell.tables.data import show_data
from hadnas.train.data.spec import DataSpec, load_data
from hadnas.train.summary import DataSummary, Dummy, summary
from tests.pictures import LABELS, digits, npz


def shown(found: DataSummary) -> str:
    file = io.StringIO()
    show_data(found, PlainConsole(file=file, width=80))
    return file.getvalue()


def test_a_summary_counts_the_images_of_each_class(tmp_path: Path) -> None:
    pixels, labels = digits(36)
    rare = (labels != 3) | (np.arange(360) % 2 == 0)  # half of the threes
    spec = DataSpec(source=npz(tmp_path, train_images=pixels[rare], train_labels=labels[rare] + 1))
    data = load_data(spec)
    found = summary(spec, data, "accuracy")
    assert found.names == tuple(map(str, range(1, 11)))
    assert found.counts == tuple(int((data.train.labels == label).sum()) for label in range(10))
    most = found.counts.index(max(found.counts))
    assert found.dummy.text == f"always '{most + 1}', the most frequent class"
    assert found.dummy.value == (data.val.labels == most).double().mean().item()
    assert summary(spec, data, "balanced_accuracy").dummy.value == pytest.approx(0.1)
    assert max(found.counts) < 3 * min(found.counts) and "balanced_accuracy" not in shown(found)
    uneven = replace(found, counts=(3, *found.counts[1:]))
    assert "--metric balanced_accuracy" in shown(uneven) and " times the images of the smallest" in shown(uneven)
    judged = replace(uneven, dummy=replace(found.dummy, metric="balanced_accuracy"))
    assert " times the images of the smallest" in shown(judged) and "--metric" not in shown(judged)


def test_the_dummy_is_that_of_scikit_learn(tmp_path: Path) -> None:
    values = np.stack([LABELS * 1.5, 100.0 - LABELS**2], 1)
    yes = np.stack([LABELS % 2, LABELS > 6], 1).astype(int)
    for targets, metric, made, judge in (
        (values, "r2", DummyRegressor(), r2_score),
        (values, "mean_absolute_error", DummyRegressor(), mean_absolute_error),
        (LABELS, "log_loss", DummyClassifier(strategy="prior"), log_loss),
    ):
        spec = DataSpec(source=npz(tmp_path, train_labels=targets))
        data = load_data(spec)
        fitted = made.fit(np.zeros((len(data.train), 1)), data.train.labels.numpy())
        blind = np.zeros((len(data.val), 1))
        predicted = fitted.predict_proba(blind) if metric == "log_loss" else fitted.predict(blind)
        found = summary(spec, data, metric)
        assert found.dummy.value == pytest.approx(judge(data.val.labels.numpy(), predicted), rel=1e-6)
    spec = DataSpec(source=npz(tmp_path, train_labels=yes, class_names=["odd", "large"]))
    data = load_data(spec)
    found = summary(spec, data, "macro_roc_auc")
    assert found.dummy.value == 0.5 and found.counts == tuple(data.train.labels.sum(0).int().tolist())
    assert "labels 2, with positive training images: odd" in " ".join(shown(found).split()) and "noise" not in shown(
        found
    )
    spec = DataSpec(source=npz(tmp_path, train_labels=values, class_names=["height", "weight"]))
    found = summary(spec, load_data(spec), "r2")
    mean, std = values[:, 0].mean(), values[:, 0].std()
    assert found.values[0] == pytest.approx((mean, std), rel=0.1)
    assert "values 2, mean ± deviation: height 7.125 ± 4.22" in " ".join(shown(found).split())


def test_noise_is_that_of_two_independent_networks() -> None:
    """Of 20,000 pairs of networks of equal accuracy on n images, one in twenty differs by more."""
    found = made(2)
    found = replace(found, sizes={"train": 300, "val": 77, "test": 99})
    assert found.noise(0.5) == pytest.approx(1.96 * math.sqrt(2 * 0.25 / 77)) == pytest.approx(0.158, abs=1e-3)
    rng = np.random.default_rng(0)
    for accuracy in (0.5, 0.9):
        one, other = rng.binomial(77, accuracy, (2, 20_000)) / 77
        assert np.mean(np.abs(one - other) > found.noise(accuracy)) == pytest.approx(0.05, abs=0.015)


def made(classes: int) -> DataSummary:
    names = tuple(f"class number {label}" for label in range(classes))
    sizes = {"train": 100_000, "val": 10_000, "test": 10_000}
    counts, dummy = tuple(range(100, 100 + classes)), Dummy("always 'a', the most frequent class", "accuracy", 0.1)
    split = "the data's own"
    return DataSummary(
        "photos/", (("image", (3, 64, 64)),), False, sizes, split, "classes", names, counts, (), dummy, ("A note.",)
    )


@pytest.mark.parametrize(("classes", "most"), [(2, 12), (10, 12), (1000, 14)])
def test_a_summary_is_short_at_eighty_columns(classes: int, most: int) -> None:
    found = made(classes)
    lines = shown(found).splitlines()
    assert len(lines) <= most and max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert f"{classes:,}, with training images: class number {classes - 1}" in text and "class number 0 100" in text
    assert "100,000 train, 10,000 validation, 10,000 test: the data's own" in text and "A note." in text
    assert "colour, 64x64 pixels, read from their files" in text
    assert "in their files" not in shown(replace(found, in_memory=True))
