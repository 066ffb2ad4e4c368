"""Relations of symbols: labels by the rule, and symbols of the test split that no other image has."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from hadnas.errors import DataError, SpecError
from hadnas.train.data.sources import relations
from hadnas.train.data.sources.relations import FEWEST_SYMBOLS, RELATION_RULES, TRAINED_SYMBOLS
from hadnas.train.data.spec import Data, load_data

Cells = tuple[bytes, bytes, bytes, bytes]


def cells(data: Data) -> dict[str, list[Cells]]:
    """The bytes of the four cells of every image of each split, row by row."""
    found = {}
    for part, split in (("train", data.train), ("val", data.val), ("test", data.open_test())):
        pixels = split.images.pixels.numpy()  # type: ignore[attr-defined]
        half = pixels.shape[2] // 2
        halves = (slice(None, half), slice(half, None))
        quarters = [pixels[:, :, rows, columns] for rows in halves for columns in halves]
        found[part] = [tuple(one.tobytes() for one in image) for image in zip(*quarters, strict=True)]
    return found  # type: ignore[return-value]


def same(a: bytes, b: bytes, c: bytes, d: bytes) -> str:
    symbols = [cell for cell in (a, b, c, d) if any(cell)]
    assert len(symbols) == 2
    return "same" if len(set(symbols)) == 1 else "different"


def identity(a: bytes, b: bytes, c: bytes, d: bytes) -> str:
    assert len({a, b, c, d}) in (2, 4)
    found = {"rows": a == b and c == d, "columns": a == c and b == d, "diagonals": a == d and b == c}
    return next((name for name, holds in found.items() if holds), "different")


def match(a: bytes, b: bytes, c: bytes, d: bytes) -> str:
    assert not {a, b} & {c, d}
    return "match" if (a == b) == (c == d) else "no match"


RULES = {"same": same, "identity": identity, "match": match}


def test_every_rule_is_tested() -> None:
    assert RULES.keys() == RELATION_RULES.keys()


@pytest.mark.parametrize("rule", RULES)
def test_images_have_the_class_of_their_cells_and_symbols_of_the_test_split_are_new(rule: str) -> None:
    data = load_data(f"relations:{rule}")
    assert data.shape == (1, 16, 16) and data.name == f"relations:{rule}"
    found = cells(data)
    digits = {
        image.astype(np.uint8).tobytes(): label for image, label in zip(*load_digits(return_X_y=True), strict=True)
    }
    symbols = {part: {cell for image in images for cell in image if any(cell)} for part, images in found.items()}
    assert len(symbols["train"]) == TRAINED_SYMBOLS and symbols["val"] <= symbols["train"]
    assert {digits[cell] for cell in symbols["train"]} == {0, 1, 2, 3, 4}
    assert {digits[cell] for cell in symbols["test"]} == {5, 6, 7, 8, 9}
    assert not set(found["train"]) & set(found["val"])
    classes, places = len(data.class_names), set()
    for part, split in (("train", data.train), ("val", data.val), ("test", data.open_test())):
        labels = split.labels.numpy()
        assert [data.class_names[label] for label in labels] == [RULES[rule](*image) for image in found[part]]
        assert np.abs(np.bincount(labels) / len(labels) - 1 / classes).max() < 0.01
        places |= {tuple(any(cell) for cell in image) for image in found[part]}
    assert len(places) == (6 if rule == "same" else 1)  # where symbols are
    (note,) = data.notes
    assert "the 896 symbols of the test split" in note and "test accuracy is out of distribution" in note


def glyphs(
    path: Path, count: int = TRAINED_SYMBOLS + FEWEST_SYMBOLS, side: int = 5, background: int = 200
) -> np.ndarray:
    """Random pictures on a background, written to a file."""
    images = np.full((count, side, side, 3), background, np.uint8)
    images[:, 1:-1, 1:-1] = np.random.default_rng(0).integers(0, 100, (count, side - 2, side - 2, 3))
    np.savez(path, images=images)
    return images


def test_symbols_of_a_file(tmp_path: Path) -> None:
    """Each is in one part, drawn as it is; empty cells have the background's value."""
    path = tmp_path / "own.npz"
    images = glyphs(path)
    data = load_data(f"relations:same:{path}")
    assert data.shape == (3, 10, 10) and data.name == "relations:same:own"
    empty = bytes([200]) * 75
    assert load_data(f"relations:same:{path}").digest == data.digest
    symbols = {part: {cell for image in found for cell in image} - {empty} for part, found in cells(data).items()}
    assert len(symbols["train"]) == TRAINED_SYMBOLS and len(symbols["test"]) == FEWEST_SYMBOLS
    assert symbols["train"] | symbols["test"] == {image.transpose(2, 0, 1).tobytes() for image in images}


def test_a_wrong_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'sane'; did you mean 'same'"):
        load_data("relations:sane")
    with pytest.raises(DataError, match=r"relations: .*identity, match, same"):
        load_data("relations")
    with pytest.raises(DataError, match=r"absent\.npz: not found"):
        load_data("relations:same:absent.npz")
    with pytest.raises(SpecError, match="the path is empty"):
        load_data("relations:same:")
    images = glyphs(tmp_path / "glyphs.npz")
    for name, array, message in (
        ("pictures", images, r"no array 'images' \(found: pictures\)"),
        ("images", images / 255, "images is float64; allowed is uint8"),
        ("images", images[:2].repeat(30, 0), "images has 2 different ones; allowed are 24 or more"),
        ("images", np.concatenate([images, images[:1] * 0 + 200]), r"images\[24\] is blank"),
        ("images", images[0, 0], r"images has shape \(5, 3\)"),
    ):
        np.savez(tmp_path / "wrong.npz", **{name: array})
        with pytest.raises(DataError, match=message):
            load_data("relations:same:wrong.npz")
    np.save(tmp_path / "one.npy", images)
    with pytest.raises(DataError, match=r"one array; a \.npz file"):
        load_data("relations:same:one.npy")


def test_symbols_whose_images_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glyphs(tmp_path / "large.npz")
    monkeypatch.setattr(relations, "HELD_BYTES", 4 * 6000 * 75 - 1)
    with pytest.raises(DataError, match=r"5, 5, 3\).* 1,799,999 bytes"):
        load_data(f"relations:match:{tmp_path / 'large.npz'}")
