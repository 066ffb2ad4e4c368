"""Masks in data: arrays of bool, random holes in the images of any source, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hadnas.errors import DataError, SpecError
from hadnas.inputs import Mask
from hadnas.train.data.spec import Data, DataSpec, load_data


def arrays(**changed: Any) -> dict[str, Any]:
    """Images of which the valid left half alone has the class; the right half is of another scale."""
    generator = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for split, count in (("train", 40), ("test", 12)):
        labels = np.arange(count) % 2
        photos = generator.integers(200, 256, (count, 6, 5, 3), dtype=np.uint8)
        photos[:, :, :3] = (generator.integers(0, 20, (count, 6, 3, 3)) + 80 * labels[:, None, None, None]).astype("u1")
        valid = np.zeros((count, 6, 5), bool)
        valid[:, :, :3] = True
        found |= {f"{split}_photo": photos, f"{split}_valid": valid, f"{split}_labels": labels}
    return {key: value for key, value in {**found, **changed}.items() if value is not None}


def read(folder: Path, *inputs: str, **changed: Any) -> Data:
    np.savez(folder / "masked.npz", **arrays(**changed))
    return load_data(DataSpec(source=str(folder / "masked.npz"), inputs=inputs or ("photo", "valid")))


def test_an_array_of_bool_is_a_mask_and_never_standardised(tmp_path: Path) -> None:
    data = read(tmp_path)
    assert data.inputs == (("photo", (3, 6, 5)), ("valid", Mask(6, 5))) and isinstance(data.inputs[1][1], Mask)
    (photos, valid), _ = next(data.train.batches(len(data.train)))
    assert valid.dtype == torch.float32 and valid.unique().tolist() == [0, 1]
    rows = photos.movedim(1, -1)[valid[:, 0] > 0]
    assert rows.mean(0).abs().max() < 1e-5 and (rows.std(0, correction=0) - 1).abs().max() < 1e-5
    assert list(data.moments) == ["photo"]


def test_what_is_in_holes_is_in_no_normalisation(tmp_path: Path) -> None:
    other = arrays()["train_photo"].copy()
    other[:, :, 3:] = 17
    first, second = read(tmp_path), read(tmp_path, train_photo=other)
    assert first.moments == second.moments and first.digest != second.digest


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64", "bool"])
def test_an_input_named_mask_is_one_of_any_type(tmp_path: Path, dtype: str) -> None:
    own = {f"{split}_mask": arrays()[f"{split}_valid"].astype(dtype) for split in ("train", "test")}
    data = read(tmp_path, "photo", "mask", **own)
    assert isinstance(data.inputs[1][1], Mask) and data.moments == read(tmp_path).moments


VALID = arrays()["train_valid"]
BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"train_mask": 255 * VALID.astype("u1")},
        r"train_mask\[0, 0, 0\] is 255; allowed are 0 at a hole and 1 at a valid",
    ),
    ({"test_mask": VALID[:12] * np.nan}, r"test_mask\[0, 0, 0\] is nan; allowed are 0 .* and 1"),
    ({"train_mask": VALID[:, :5], "test_mask": VALID[:12, :5]}, r"train_mask\[0\] is 5 x 5; .* 6 x 5 of train_photo"),
    ({"train_mask": VALID[:, :5]}, r"test_mask are .*\(1, 6, 5\), train_mask .*\(1, 5, 5\)"),
    ({"train_mask": VALID[0]}, r"train_mask is bool of shape \(6, 5\); a mask is .* \(N, H, W\)"),
    ({"train_mask": VALID.astype(str)}, r"train_mask is <U5 of shape"),
    ({"train_mask": 0 * VALID}, "train_mask has no valid pixel"),
    ({"train_mask": VALID[:-1]}, r"train_mask has 39 rows, train_labels 40: train_mask\[39\] is missing"),
]


@pytest.mark.parametrize(("changed", "said"), BAD)
def test_a_bad_mask_is_one_error(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    own = {f"{split}_mask": arrays()[f"{split}_valid"] for split in ("train", "test")}
    with pytest.raises(DataError, match=said):
        read(tmp_path, "photo", "mask", **{**own, **changed})


def test_a_mask_without_an_image_is_refused(tmp_path: Path) -> None:
    sizes = {f"{split}_sizes": np.arange(2.0 * n).reshape(n, 2) for split, n in (("train", 40), ("test", 12))}
    with pytest.raises(DataError, match=r"train_valid\[0\] is 6 x 5; .*no input"):
        read(tmp_path, "sizes", "valid", **sizes)


def test_images_of_any_source_get_holes() -> None:
    whole, data, more = (load_data(f"holes:{share}:digits") for share in ("0", "0.3", "0.60"))
    plain = load_data("digits")
    assert data.name == "holes:0.3:digits" and data.sizes == plain.sizes and data.class_names == plain.class_names
    assert np.allclose(whole.moments["image"], plain.moments, atol=1e-12)  # type: ignore[call-overload, arg-type]
    for part in ("train", "val"):
        parts = [getattr(one, part) for one in (whole, data, more)]
        ((_, ones), _), ((y, mask), labels), ((_, fewer), _) = (next(one.batches(2000)) for one in parts)
        assert ones.all() and (mask.mean((1, 2, 3)) == 45 / 64).all() and (fewer.mean((1, 2, 3)) == 26 / 64).all()
        assert (fewer <= mask).all() and labels.equal(getattr(plain, part).labels)
        mean, std = (value[0] for value in data.moments["image"])  # type: ignore[call-overload]
        pixels = (y * std + mean) * 16
        known = next(getattr(plain, part).batches(2000))[0][0] * plain.std[0] * 16 + plain.mean[0] * 16
        assert (pixels - known).masked_fill(mask == 0, 0).abs().max() < 1e-4
        filled = pixels[mask == 0].round()
        assert filled.unique().tolist() == list(range(17)) and abs(filled.mean() - 8) < 0.2
    first, again = load_data("holes:0.3:digits"), load_data("holes:0.3:digits")
    assert first.digest == again.digest != more.digest


def test_an_image_in_two_splits_is_still_noticed(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    images[25] = images[3]
    own = {"test_images": images[20:], "test_labels": np.arange(10) % 2}
    np.savez(tmp_path / "twice.npz", train_images=images[:20], train_labels=np.arange(20) % 2, **own)
    (note,) = load_data(f"holes:0.5:{tmp_path / 'twice.npz'}").notes
    assert "1 of 10 test images" in note and "'test_images[5]' is train" in note


def test_holes_are_squares_of_an_eighth_of_a_side(tmp_path: Path) -> None:
    images = np.full((20, 34, 16), 9, np.uint8)
    np.savez(tmp_path / "grey.npz", train_images=images, train_labels=np.arange(20) % 2)
    data = load_data(f"holes:0.5:{tmp_path / 'grey.npz'}")
    assert data.name == "holes:0.5:grey"
    (_, mask), _ = next(data.train.batches(20))
    assert (mask.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).std(-1, correction=0) == 0).all()
    assert (mask.mean((1, 2, 3)) == 0.5).all()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("holes:1:digits", "the share of holes is '1'; allowed is a number from 0 to below 1"),
        ("holes:nan:digits", "is 'nan'; allowed"),
        ("holes:-0.1:digits", "is '-0.1'; allowed"),
        ("holes:half:digits", "is 'half'; allowed"),
        ("holes:0.5:digit_pairs:sum", "holes are for one image, in memory; digit_pairs:sum has other inputs"),
        ("holes:0.5:nowhere", "'nowhere' not found"),
        ("holes:0.5", "path is empty"),
    ],
)
def test_holes_that_cannot_be_are_refused(source: str, said: str) -> None:
    with pytest.raises((DataError, SpecError), match=said):
        load_data(source)
