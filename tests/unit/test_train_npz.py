"""Arrays as people save them: other names, types, scales and labels, read to the same pixels and classes."""

from pathlib import Path

import numpy as np
import pytest

from hadnas.errors import DataError
from hadnas.train.data.spec import load_data
from tests.pictures import LABELS, PIXELS, npz

PLAIN = "444722a81b2e5e19"
"""The digest of the file with uint8 pixels and labels from 0."""


@pytest.mark.parametrize(
    "arrays",
    [
        {"train_labels": LABELS[:, None]},  # as MedMNIST
        {"train_labels": LABELS.astype(np.uint8)},
        {"train_labels": LABELS.astype(str)},
        {"train_labels": LABELS * 2 + 10**12},
        {"train_labels": LABELS - 3},
        {"train_labels": np.array([f"digit {label}" for label in LABELS], "S")},
        {"train_images": PIXELS.astype(np.int64)},
        {"train_images": PIXELS.astype(np.float16)},
        {"train_images": PIXELS / 255},
        {"train_images": (PIXELS / 255).astype(np.float32)},
        {"train_images": None, "train_labels": None, "x_train": PIXELS, "y_train": LABELS},
        {"train_images": None, "train_labels": None, "X_train": PIXELS, "y_train": LABELS},
        {"train_images": None, "train_labels": None, "X_train": PIXELS, "Y_train": LABELS},
    ],
)
def test_other_forms_of_one_file_give_the_same_pixels_and_classes(arrays: dict[str, object], tmp_path: Path) -> None:
    data = load_data(npz(tmp_path, **arrays))
    assert (data.digest, data.notes) == (PLAIN, ())


def test_classes_are_the_labels_that_occur(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path, train_labels=np.choose(LABELS % 3, [1, 5, 90])))
    assert data.class_names == ("1", "5", "90") and data.classes == 3
    names = np.array(["b10", "b9", "C", "a", "none"])
    data = load_data(npz(tmp_path, train_labels=names[LABELS % 5]))
    assert data.class_names == ("a", "b9", "b10", "C", "none")
    assert [data.class_names[label] for label in data.train.labels[:3]] == names[LABELS % 5][[0, 2, 3]].tolist()
    own = {"train_labels": names[LABELS % 5], "class_names": names}
    assert load_data(npz(tmp_path, **own)).class_names == tuple(names)


def test_classes_of_all_splits_are_joined(tmp_path: Path) -> None:
    """x_valid and x_test as Keras' users write them; their labels count the classes of the training images."""
    few = LABELS >= 5
    parts = {"x_train": PIXELS, "y_train": LABELS + 1, "x_valid": PIXELS[few], "y_valid": LABELS[few, None] + 1}
    parts |= {"x_test": PIXELS[few], "y_test": LABELS[few] + 1, "train_images": None, "train_labels": None}
    data = load_data(npz(tmp_path, **parts))
    assert data.sizes == {"train": 120, "val": 60, "test": 60} and data.split == "the data's own"
    assert data.class_names[0] == "1" and set(data.val.labels.tolist()) == set(range(5, 10))
    assert str(data.open_test().images.names[3]) == "x_test[3]"
    with pytest.raises(DataError, match=r"class '11' \(label 10\) has no training image"):
        load_data(npz(tmp_path, **{**parts, "y_valid": LABELS[few] + 2}))


def test_rounding_to_eight_bits_is_told(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path, train_images=np.clip(PIXELS / 255 + 0.4 / 255, 0, 1)))
    assert data.digest == PLAIN and data.notes == ("pixels 0..1 are rounded to 8 bits, by up to 0.0016",)
    bits = PIXELS > 100
    data = load_data(npz(tmp_path, train_images=bits))
    assert data.digest == load_data(npz(tmp_path, train_images=bits.astype(np.uint8) * 255)).digest


def test_all_splits_have_one_scale(tmp_path: Path) -> None:
    """A dark split of whole numbers is not taken for one of numbers 0..1."""
    test = {"test_images": (PIXELS > 100).astype(float), "test_labels": LABELS}
    data = load_data(npz(tmp_path, train_images=PIXELS.astype(float), **test))
    assert int(data.open_test().images[0][0].max()) == 1
    assert int(load_data(npz(tmp_path, train_images=PIXELS / 255, **test)).open_test().images[0][0].max()) == 255


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"train_labels": 1.7e9 + 10 * np.sin(np.arange(120))},
            r"which float32 rounds by \d+ .* train_labels -= 1699999999",
        ),
        (
            {"train_labels": 1.7e9 + 100 * np.arange(120.0)},
            r"which float32 rounds by \d+ while .* deviation is 3\.5e\+03",
        ),
        ({"train_labels": np.stack([LABELS, LABELS + 1e10], 1)}, r"rounds by .*: train_labels\[:, 1\] -= 1000000000"),
        (
            {"train_labels": np.where(np.arange(120) == 7, 1e300, LABELS)},
            r"train_labels\[7\] is 1e\+300; .* to 3\.4e\+38",
        ),
        (
            {"train_labels": LABELS.astype(np.uint64) + 2**63},
            r"train_labels\[0\] is 9223372036854775\d+; .*astype\(str\)",
        ),
        ({"train_labels": np.empty((120, 0))}, r"train_labels has shape \(120, 0\); .* K > 0"),
        ({"train_labels": LABELS.astype(object)}, r"cannot be read .*train_labels\.astype\(str\)"),
        ({"class_names": [*"abcdefghi", "b"]}, r"class_names\[9\] is 'b', as is class_names\[1\]"),
        ({"class_names": [*"abcdefghi", " "]}, r"class_names\[9\] is ' '"),
        (
            {"train_images": np.where(np.arange(120) == 7, np.nan, PIXELS.T / 255).T},
            r"train_images\[7\] has the value nan",
        ),
        ({"train_images": np.where(np.arange(120) == 7, -np.inf, PIXELS.T).T}, r"train_images\[7\] has the value -inf"),
        (
            {"train_images": PIXELS / 255, "val_images": PIXELS, "val_labels": LABELS},
            r"train_images are numbers up to 0\.94\d*, val_images up to 240; one scale",
        ),
    ],
)
def test_what_would_be_stored_wrongly_is_refused(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_data(npz(tmp_path, **arrays))


def test_values_of_a_small_offset_and_large_labels_as_text_are_read(tmp_path: Path) -> None:
    years = 2000 + LABELS + np.arange(120) / 365
    assert load_data(npz(tmp_path, train_labels=years)).target_mean == pytest.approx((years.mean(),), abs=1)
    large = (LABELS.astype(np.uint64) + 2**63).astype(str)
    assert load_data(npz(tmp_path, train_labels=large)).class_names == tuple(str(2**63 + n) for n in range(10))
