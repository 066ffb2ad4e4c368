"""The summary of a data set: true, short for any number of classes, and readable at 80 columns."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hadnas.shell.console import PlainConsole
from hadnas.shell.tables.data import show_data
from hadnas.train.data.spec import DataSpec, load_data
from hadnas.train.data.summary import DataSummary, summary
from tests.pictures import digits, npz


def shown(found: DataSummary) -> str:
    file = io.StringIO()
    show_data(found, PlainConsole(file=file, width=80))
    return file.getvalue()


def test_a_summary_counts_the_images_of_each_class(tmp_path: Path) -> None:
    pixels, labels = digits(36)
    rare = (labels != 3) | (np.arange(360) % 3 == 0)  # a third of the threes
    spec = DataSpec(source=npz(tmp_path, train_images=pixels[rare], train_labels=labels[rare] + 1))
    data = load_data(spec)
    found = summary(spec, data)
    for label, (name, train, val) in enumerate(found.counts):
        assert name == str(label + 1)
        assert train == int((data.train.labels == label).sum()) and val == int((data.val.labels == label).sum())
    assert sum(train for _, train, _ in found.counts) == found.sizes["train"] == len(data.train)
    name, share = found.dummy
    label = data.class_names.index(name)
    assert found.counts[label][1] == max(train for _, train, _ in found.counts)
    assert share == (data.val.labels == label).double().mean().item()
    assert found.ratio == max(train for _, train, _ in found.counts) / found.counts[3][1] > 2.9
    assert "--metric balanced_accuracy" in shown(found)
    assert "--metric" not in shown(summary(DataSpec(source="digits"), load_data("digits")))


def test_noise_is_that_of_two_independent_networks() -> None:
    """Of 20,000 pairs of networks of equal accuracy on n images, one in twenty differs by more."""
    found = DataSummary("x", (1, 8, 8), True, {"train": 300, "val": 77, "test": 99}, "", (), ("a", 0.5), ())
    assert found.noise(0.5) == pytest.approx(1.96 * math.sqrt(2 * 0.25 / 77)) == pytest.approx(0.158, abs=1e-3)
    rng = np.random.default_rng(0)
    for accuracy in (0.5, 0.9):
        one, other = rng.binomial(77, accuracy, (2, 20_000)) / 77
        assert np.mean(np.abs(one - other) > found.noise(accuracy)) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("classes", "most"), [(2, 12), (10, 12), (1000, 14)])
def test_a_summary_is_short_at_eighty_columns(classes: int, most: int) -> None:
    counts = tuple((f"class number {label}", 100 + label, 10) for label in range(classes))
    sizes = {"train": 100_000, "val": 10_000, "test": 10_000}
    found = DataSummary("photos/", (3, 64, 64), False, sizes, "the data's own", counts, ("a" * 300, 0.1), ("A note.",))
    lines = shown(found).splitlines()
    assert len(lines) <= most and max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert f"{classes:,}, with training images: class number {classes - 1}" in text and "class number 0 100" in text
    assert "100,000 train, 10,000 validation, 10,000 test: the data's own" in text and "A note." in text
    assert "colour, 64x64 pixels, read from their files" in text
    assert "in their files" not in shown(replace(found, in_memory=True))
