"""Every malformed source is refused, in one sentence that says where."""

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from hadnas.errors import DataError, SpecError
from hadnas.train.data.spec import DataSpec, load_data
from tests.pictures import LABELS, PIXELS, digits, npz, png_folder


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_labels": None}, "no array 'train_labels' \\(found: train_images\\)"),
        ({"test_images": PIXELS}, "no array 'test_labels'"),
        ({"train_images": PIXELS[0]}, "train_images has shape \\(8, 8\\)"),
        ({"train_images": PIXELS[:0], "train_labels": LABELS[:0]}, "has shape \\(0, 8, 8\\)"),
        ({"train_images": np.stack([PIXELS] * 3, axis=1)}, "channels first"),
        ({"train_labels": LABELS[:-1]}, "train_labels has shape \\(119,\\); \\(120,\\)"),
        ({"class_names": list("abc")}, "train label 3 is out of range 0..2"),
        ({"class_names": [list("abcdefghij")]}, "class_names has shape \\(1, 10\\)"),
        ({"train_labels": LABELS * 0}, "only one class, '0'"),
        ({"train_labels": np.where(LABELS == 9, 8, LABELS) + (np.arange(120) == 119)}, "class '9' has 1 images left"),
        ({"test_images": PIXELS, "test_labels": LABELS + 1}, "class '10' \\(label 10\\) has no training image"),
        ({"test_images": PIXELS[:, :4], "test_labels": LABELS}, "test_images are \\(1, 4, 8\\)"),
        ({"val_images": PIXELS[:, :4], "val_labels": LABELS}, "val_images are \\(1, 4, 8\\)"),
        ({"val_images": PIXELS}, "no array 'val_labels'"),
        ({"train_images": PIXELS.reshape(120, 1, 4, 16)}, "channels first; \\(N, H, W, C\\) is needed"),
        *(
            (
                {"train_images": np.zeros((120, *sides), np.uint8)},
                r"train_images\.transpose\(0, 2, 3, 1\), or, .* layout=",
            )
            for sides in ((13, 32, 32), (2, 8, 8), (8, 8, 8), (32, 8, 8), (6, 20, 30), (3, 8, 4), (8, 9, 8), (1, 1, 9))
        ),
        ({"layout": "NCHW"}, "layout is 'NCHW'; 'NHWC' is allowed"),
        ({"class_names": np.array([b"\xff"] * 10)}, "class name b'\\\\xff' is not UTF-8"),
        ({"class_names": [*"abcdefghi", "j\nk"]}, r"class name 'j\\nk' has a control character"),
        ({"class_names": [*"abcdefghi", "\x1b[31mred"]}, r"class name '\\x1b\[31mred' has a control character"),
        (
            {"train_images": PIXELS / 100},
            r"train_images\[.*\] has the value 0.75, of 0 to 2.4; allowed .* = np\.rint\(255",
        ),
        ({"train_images": PIXELS.astype(float) - 1}, r"train_images\[0\] has the value -1, of -1 to 239; allowed"),
        (
            {"train_images": np.where(PIXELS == 15, np.nan, PIXELS)},
            r"train_images\[\d+\] has the value nan; allowed are finite numbers",
        ),
        (
            {"train_images": PIXELS.astype(np.uint16) * 257},
            r"train_images\[0\] has the value \d+, of 0 to \d+; allowed",
        ),
        ({"train_images": PIXELS.astype(str)}, r"train_images is <U3; numbers"),
        ({"train_labels": np.where(np.arange(120) == 7, np.nan, LABELS)}, r"'train_images\[7\]': value '0' is nan;"),
        ({"train_labels": np.eye(10)[LABELS]}, r"single 1 in every row; .* train_labels\.argmax\(1\)"),
        ({"train_labels": LABELS.astype(complex)}, r"train_labels is complex128; .*train_labels\.astype\(str\)"),
        ({"test_images": PIXELS, "test_labels": LABELS.astype(str)}, "test_labels is text"),
        ({"train_labels": LABELS.astype(str), "class_names": list("012345678")}, "the label '9' is not in class_names"),
        ({"x_train": PIXELS, "y_train": LABELS}, "both train_images and x_train"),
        ({"x_val": PIXELS, "y_val": LABELS, "x_valid": PIXELS}, "both x_val and x_valid"),
        ({"train_images": None, "train_labels": None, "x_train": PIXELS}, "no array 'y_train' \\(found: x_train\\)"),
        ({"train_labels": np.array([{}] * 120)}, "'train_labels' cannot be read"),
    ],
)
def test_malformed_npz_files_are_refused(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(npz(tmp_path, **arrays))


def test_files_that_are_no_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'digit' not found in .*; allowed .*'digits'; .*torch/.*; a folder .*\.npz"):
        load_data("digit")
    for content in (b"", b"not an archive", b"PK\x03\x04 cut"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.npz"):
            load_data(str(tmp_path / "bad.npz"))
    np.save(tmp_path / "bare.npy", PIXELS)
    with pytest.raises(DataError, match=r"bare\.npy' is of no known kind; .*train_images and train_labels"):
        load_data(str(tmp_path / "bare.npy"))
    whole = Path(npz(tmp_path))
    damaged = bytearray(whole.read_bytes())
    damaged[1000:1100] = bytes(100)
    whole.write_bytes(damaged)
    with pytest.raises(DataError, match="cannot be read"):
        load_data(str(whole))
    with pytest.raises(DataError, match="digits: `size`"):
        load_data(DataSpec(source="digits", size=16))


def test_an_array_that_claims_more_than_there_is(tmp_path: Path) -> None:
    """40 GB, and more than any machine has, in a file of some hundred bytes."""
    for claimed in ((10**9, 40), (10**9, 10**6), (2**62, 8)):
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": claimed})
        with zipfile.ZipFile(tmp_path / "claims.npz", "w") as file:
            file.writestr("train_images.npy", head.getvalue() + bytes(100))
        with pytest.raises(DataError, match=r"claims\.npz: array 'train_images' cannot be read \("):
            load_data(str(tmp_path / "claims.npz"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/dev/zero", "'/dev/zero' is of no known kind; .*file"),
        ("a" * 300, r"'a{100}\.\.\.' .*: file name too long"),
        ("~nobody_of_this_name/x", "'~nobody_of_this_name/x'"),
        ("torch/image_folder:photos", "'photos'"),
    ],
)
def test_sources_that_are_neither_file_nor_folder(source: str, message: str) -> None:
    with pytest.raises((DataError, SpecError), match=message):
        load_data(source)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """To open one would wait for whoever writes into it."""
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"pipe\.npz: a folder, pipe or device; a regular file"):
        load_data(str(tmp_path / "pipe.npz"))


def test_a_class_too_small_to_split_is_refused(tmp_path: Path) -> None:
    pixels, labels = digits(3)
    with pytest.raises(DataError, match=r"0\.1 .*for test.*`test_fraction`"):
        load_data(DataSpec(source=npz(tmp_path, train_images=pixels, train_labels=labels), test_fraction=0.1))
    test = {"test_images": pixels, "test_labels": labels}
    with pytest.raises(DataError, match=r"for val.*`val_fraction`"):
        load_data(DataSpec(source=npz(tmp_path, train_images=pixels, train_labels=labels, **test), val_fraction=0.05))


def test_malformed_image_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one sub-folder per class"):
        load_data(str(tmp_path))
    folder = png_folder(tmp_path / "whole")
    victim = folder / "class_3" / "0040.png"
    good = victim.read_bytes()
    for content, message in ((b"text", "not an image"), (good[:-30], "cannot be decoded")):
        victim.write_bytes(content)
        with pytest.raises(DataError, match=f"0040.png: .*{message}"):
            load_data(str(folder))
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(victim)
    with pytest.raises(DataError, match=r"8x9 .* 8x8; .*`size`"):
        load_data(str(folder))
    png_folder(tmp_path / "split" / "train")
    shutil.rmtree(png_folder(tmp_path / "split" / "test") / "class_9")
    with pytest.raises(DataError, match="classes of test"):
        load_data(str(tmp_path / "split"))
    png_folder(tmp_path / "robo" / "train")
    png_folder(tmp_path / "robo" / "valid")
    (tmp_path / "robo" / "labels").mkdir()
    with pytest.raises(DataError, match=r"beside train there is 'labels'; allowed .* train, val, test"):
        load_data(str(tmp_path / "robo"))
    (tmp_path / "robo" / "labels").rename(tmp_path / "robo" / "val")
    with pytest.raises(DataError, match=r"beside train there is 'valid'; allowed .* each once"):
        load_data(str(tmp_path / "robo"))


def test_a_spec_is_strict() -> None:
    for bad in (
        {"val_fraction": 0.0},
        {"test_fraction": 1.0},
        {"split_seed": -1},
        {"size": 0},
        {"seed": 0},
    ):
        with pytest.raises(ValidationError):
            DataSpec.model_validate({"source": "digits"} | bad)
