"""Folders of images as users have them: what is a class, what is an image, what is neither."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.data import create_dataset

from hadnas.errors import DataError
from hadnas.train.data.spec import Data, load_data
from tests.pictures import digits

PIXELS, LABELS = digits()


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
    (tmp_path / "b" / "nowhere.png").symlink_to(tmp_path / "gone")
    data = load_data(str(tmp_path))
    assert files(data) == {*(f"{number}.gif" for number in range(6)), "more.PNG"}
    (note,) = data.notes
    assert note.startswith("3 files are not read, as not in the folder of a class or not named .jpg, ")
    assert note.endswith("/labels\\x1b.csv', ...") and "\x1b" not in note
    (tmp_path / "b" / "nowhere.png").unlink()
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
