"""Images that two splits of a data set share are found, and a user is told of them."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hadnas.train.data import files
from hadnas.train.data.spec import load_data
from tests.pictures import LABELS, PIXELS, npz


def test_images_that_two_splits_share_are_counted(tmp_path: Path) -> None:
    """Three test images are training images, one of them under another label; one validation image is a test image."""
    train, val, test = PIXELS[0::3].copy(), PIXELS[1::3].copy(), PIXELS[2::3].copy()
    test[[4, 9, 20]] = train[[30, 7, 21]]
    val[11] = test[5]
    labels = {"train": LABELS[0::3], "val": LABELS[1::3], "test": LABELS[2::3]}
    parts = {"train": train, "val": val, "test": test}
    arrays = {f"{part}_images": array for part, array in parts.items()}
    data = load_data(npz(tmp_path, **arrays, **{f"{part}_labels": array for part, array in labels.items()}))
    shared = "4 of 40 test images are in an earlier split, too, so accuracy on them is too optimistic: "
    assert data.notes == (shared + "test image 'test_images[4]' is train image 'train_images[30]'",)


@pytest.mark.parametrize("held_bytes", [1 << 30, 0])
def test_a_copied_file_is_found_in_a_folder(held_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also streamed from files that are as long as each other and begin alike, as pictures without compression are."""
    monkeypatch.setattr(files, "HELD_BYTES", held_bytes)
    random = np.random.default_rng(0)
    for place in (tmp_path / part / name for part in ("train", "test") for name in "ab"):
        place.mkdir(parents=True)
        for number in range(8):
            pixels = np.zeros((80, 80), np.uint8)
            pixels[60:] = random.integers(0, 256, (20, 80))
            Image.fromarray(pixels).save(place / f"{number}.pgm")
    shutil.copy(tmp_path / "train" / "b" / "2.pgm", tmp_path / "test" / "a" / "copy.pgm")
    (note,) = load_data(str(tmp_path)).notes
    assert note.startswith("1 of 17 test images are in an earlier split, too, so accuracy on them is too optimistic: ")
    assert re.search(r"test image '\S+test/a/copy.pgm' is (train|validation) image '\S+train/b/2.pgm'$", note)


def test_images_without_copies_make_no_note() -> None:
    assert load_data("digits").notes == ()
