"""Folders of images as users have them: what is a class, what is an image, what is neither."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.data import create_dataset

from hadnas.errors import DataError
from hadnas.train.data import files as file_reader
from hadnas.train.data.spec import Data, DataSpec, load_data
from tests.pictures import digits

PIXELS, LABELS = digits(30)


def fill(folder: Path, names: Sequence[str], each: int = 6, end: str = "png") -> Path:
    """Digit `k` in the folder of name `k`."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(PIXELS[label % 10 == LABELS][:each]):
            Image.fromarray(np.bitwise_xor(pixels, label // 10)).save(folder / name / f"{number}.{end}")
    return folder


def files(data: Data) -> set[str]:
    """The names of all images that were read."""
    parts = (data.train, data.val, data.open_test())
    return {Path(str(name)).name for part in parts for name in part.images.names}


@pytest.mark.parametrize(
    "names",
    [
        [str(number) for number in range(12)],
        ["B", "a", "C", "b10", "b9", "Äpfel"],
        ["x2y10", "x2y9", "x10y1", "٣", "12"],
    ],
)
def test_classes_are_in_the_order_of_timms_reader(names: list[str], tmp_path: Path) -> None:
    data = load_data(str(fill(tmp_path, names)))
    assert {name: label for label, name in enumerate(data.class_names)} == create_dataset(
        "", tmp_path
    ).reader.class_to_idx
    assert sorted(data.class_names) == sorted(names) and list(data.class_names) != sorted(names)


def test_images_keep_the_class_of_their_folder_and_the_order_of_their_names(tmp_path: Path) -> None:
    """Drawn splits follow from the order of the files, so those of folders that are sorted alike stay as they were."""
    data = load_data(str(fill(tmp_path, [str(number) for number in range(12)], each=12)))
    for part in (data.train, data.val, data.open_test()):
        paths = [Path(str(name)) for name in part.images.names]
        assert [data.class_names[label] for label in part.labels] == [path.parent.name for path in paths]
        assert paths == sorted(paths, key=lambda path: (int(path.parent.name), path.name))
        for pixels, path in zip(part.images.pixels, paths, strict=True):  # type: ignore[attr-defined]
            assert np.array_equal(pixels[0], np.asarray(Image.open(path)))


def test_names_that_timm_cannot_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"timm .*\(.*'²'\)"):
        load_data(str(fill(tmp_path, ["m", "5²"])))


def test_what_systems_and_tools_leave_is_no_class_and_no_image(tmp_path: Path) -> None:
    before = load_data(str(fill(tmp_path, "abc")))
    for folder in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git", "a/.thumbnails", "b/@eaDir"):
        (tmp_path / folder).mkdir()
        Image.fromarray(PIXELS[0]).save(tmp_path / folder / "x.png")
    for file in (".DS_Store", "Thumbs.db", "a/desktop.ini", "a/._0.png", "b/.hidden.jpg", "c/thumbs.DB"):
        (tmp_path / file).write_bytes(b"\0\5\x16\7")
    after = load_data(str(tmp_path))
    assert (after.class_names, after.sizes, after.digest, after.notes) == (("a", "b", "c"), *_of(before), ())
    parted = tmp_path / "parted"
    for part in ("train", "val", "__MACOSX"):
        fill(parted / part, "abc")
    assert load_data(str(parted)).class_names == ("a", "b", "c")


def _of(data: Data) -> tuple[object, object]:
    return data.sizes, data.digest


def test_no_file_vanishes_without_a_word(tmp_path: Path) -> None:
    fill(tmp_path, "ab", end="gif")
    Image.fromarray(PIXELS[0] // 2).save(tmp_path / "a" / "more.PNG")
    (tmp_path / "b" / "photo.heic").write_bytes(b"")
    (tmp_path / "labels\x1b.csv").write_bytes(b"")
    data = load_data(str(tmp_path))
    assert files(data) == {*(f"{number}.gif" for number in range(6)), "more.PNG"}
    (note,) = data.notes
    assert note.startswith("2 files are not read, ")
    assert note.endswith("/labels\\x1b.csv', ...") and "\x1b" not in note
    (tmp_path / "labels\x1b.csv").unlink()
    assert load_data(str(tmp_path)).notes[0].endswith(f": '{tmp_path}/b/photo.heic'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: fill(root / "a", ["nested"]), r"a: .*'nested'; allowed"),
        (
            lambda root: (root / "empty").mkdir(),
            r"'empty' .*\.jpg, .*\.gif",
        ),
        (lambda root: fill(root, ["new\nline"]), r"'new\\nline' .*control character"),
        (
            lambda root: fill(root, [b"\xff".decode(errors="surrogateescape")]),
            r"'\\udcff' .*control character",
        ),
    ],
)
def test_what_would_be_misread_is_refused(change: object, message: str, tmp_path: Path) -> None:
    fill(tmp_path, "ab")
    change(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path))


@pytest.mark.parametrize("held_bytes", [1 << 30, 0])
def test_all_bad_files_are_listed_or_left_out(held_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_reader, "HELD_BYTES", held_bytes)
    fill(tmp_path, "ab", each=30)
    (tmp_path / "a" / "0.png").write_bytes(b"text")
    for name in ("b/1.png", "b/2.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-30])
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "a" / "3.png")
    with pytest.raises(DataError) as found:
        load_data(str(tmp_path))
    lines = str(found.value).splitlines()
    if held_bytes:
        assert lines[0] == f"{tmp_path}: 3 of 60 images cannot be used; --skip-bad (`skip_bad`) goes on without them:"
        assert [line.partition(":")[0].strip() for line in lines[1:4]] == ["a/0.png", "b/1.png", "b/2.png"]
    else:  # streamed files are decoded as they are trained on
        assert "a/0.png: not an image" in lines[0] and "--skip-bad" in lines[0]
    assert "a/3.png: 9x8 pixels, but " in lines[-1] and "`size`" in lines[-1]
    data = load_data(DataSpec(source=str(tmp_path), size=8, skip_bad=True))
    assert sum(data.sizes.values()) == 57
    (note,) = data.notes
    assert note.startswith("3 of 60 images cannot be used and are left out: a/0.png: not an image of the formats PNG")
    for number in range(30):
        (tmp_path / "b" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"31 of 60 .*without them:\n(.*\n){20}  \.\.\."):
        load_data(DataSpec(source=str(tmp_path), size=8))
    with pytest.raises(DataError, match=r"class 'b' .*no training image"):
        load_data(DataSpec(source=str(tmp_path), size=8, skip_bad=True))
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="60 of 60 images cannot be used:"):
        load_data(DataSpec(source=str(tmp_path), size=8, skip_bad=True))


def test_broken_links_and_pipes_are_unusable_images(tmp_path: Path) -> None:
    fill(tmp_path, "ab", each=30)
    (tmp_path / "a" / "link.png").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=rf"/a/link\.png: a link to {tmp_path}/gone, which does not exist; --skip-bad"):
        load_data(str(tmp_path))
    os.mkfifo(tmp_path / "b" / "pipe.png")
    with pytest.raises(DataError, match=r"2 of 62 images .*\n.*\n  b/pipe\.png: a pipe, .* a regular file is needed"):
        load_data(str(tmp_path))
    data = load_data(DataSpec(source=str(tmp_path), skip_bad=True))
    assert sum(data.sizes.values()) == 60 and data.notes[0].startswith("2 of 62 images cannot be used")


def test_the_note_says_how_many_files_of_sixteen_bits(tmp_path: Path) -> None:
    fill(tmp_path, "ab", each=12)
    for number in range(3):
        Image.fromarray(PIXELS[number].astype(np.uint16) * 257).save(tmp_path / "a" / f"{number}.png")
    assert load_data(str(tmp_path)).notes == ("3 images of 16 bits are read by their upper 8 bits",)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "Testing"), ("train", "Validation")])
def test_folders_of_splits_by_their_usual_names(names: Sequence[str], tmp_path: Path) -> None:
    for each, name in enumerate(names):
        fill(tmp_path / name, "ab", each=20 + each)
    data = load_data(str(tmp_path))
    assert data.sizes["val"] == 42 and data.sizes["test"] in (44, 8)
