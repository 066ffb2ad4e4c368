"""A folder of images: one sub-folder per class, the classes in the order of timm's reader."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from hadnas.errors import DataError
from hadnas.paths import as_path
from hadnas.train.data.files import read_files
from hadnas.train.data.images import Source
from hadnas.train.data.reader import ordered_names, reader
from hadnas.train.data.spec import TABLES
from hadnas.train.data.split import SPLITS, split_named

EXTENSIONS = (*IMG_EXTENSIONS, ".gif")
"""Endings of the names of images, in upper or lower case."""

LEFTOVERS = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin")
)
"""Files and folders that operating systems and tools create; ignored, as are names that begin with a dot."""


@dataclass
class _Listed:
    """The images of a folder with their classes, and the files that are not images by their names."""

    classes: tuple[str, ...]
    files: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)


@reader(
    "a folder of images, with a sub-folder per class",
    takes=lambda source: as_path(source).is_dir(),
    options=("size", "skip_bad"),
)
def read_folder(source: str, size: int | None, skip_bad: bool) -> Source:
    """Read `<class>/*`, or such folders in `train` and, if they exist, `val` and `test`. Raises DataError."""
    root = as_path(source)
    parts = _parts(root)
    listed = {part: _list(folder) for part, folder in parts.items()} or {"train": _list(root)}
    train = listed["train"]
    for part, found in listed.items():
        if found.classes != train.classes:
            raise DataError(
                f"{root}: classes of {part} {list(found.classes)} differ from those of train {list(train.classes)}"
            )
    others = [path for found in listed.values() for path in found.unread]
    if parts:
        others = [*(Path(entry.path) for entry in _entries(root) if not entry.is_dir()), *others]
    files = {part: (found.files, torch.tensor(found.labels, dtype=torch.int64)) for part, found in listed.items()}
    images, notes = read_files(root, files, size, skip_bad)
    notes = ((_unread_words(others),) if others else ()) + notes
    return Source(255.0, train.classes, images["train"], images.get("val"), images.get("test"), notes)


def _parts(root: Path) -> dict[str, Path]:
    """The folder of each split; empty if the folders in `root` are classes."""
    folders = [entry.name for entry in _entries(root) if entry.is_dir()]
    found = {name: split_named(name) for name in folders}
    if "train" not in folders and not ("train" in found.values() and all(found.values())):
        return {}
    parts: dict[str, Path] = {}
    for name, split in found.items():
        if split is None or split in parts:
            raise DataError(f"{root}: beside train there is {name!r}; allowed are {', '.join(SPLITS)}, each once")
        parts[split] = root / name
    return {split: parts[split] for split in SPLITS if split in parts}


def _unread_words(files: list[Path]) -> str:
    return (
        f"{len(files):,} {'files are' if len(files) > 1 else 'file is'} not read, being outside of a class folder or "
        f"not named {', '.join(EXTENSIONS)}: {str(files[0])!r}{', ...' if len(files) > 1 else ''}"
    )


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    """The entries of a folder by name, without LEFTOVERS."""
    try:
        with os.scandir(folder) as entries:
            found = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in LEFTOVERS]
        for entry in found:
            entry.is_dir()  # raises here for a link to itself; later calls use the cached answer
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    return sorted(found, key=lambda entry: entry.name)


def _list(folder: Path) -> _Listed:
    entries = _entries(folder)
    names = [entry.name for entry in entries if entry.is_dir()]
    if not names:
        tables = [entry.name for entry in entries if entry.name.lower().endswith(TABLES)]
        hint = f"; to take the labels from the table, name it: {folder / tables[0]}" if tables else ""
        raise DataError(f"{folder}: not an image folder with one sub-folder per class{hint}")
    found = _Listed(ordered_names(names, folder))
    found.unread += [Path(entry.path) for entry in entries if not entry.is_dir()]
    for label, name in enumerate(found.classes):
        for entry in _entries(folder / name):
            if entry.is_dir():
                raise DataError(
                    f"{folder / name}: contains the folder {entry.name!r}; allowed is one folder of images per class, "
                    f"or {', '.join(SPLITS)} with such folders"
                )
            is_image = entry.name.lower().endswith(EXTENSIONS)  # a broken link, too: one of the unusable files
            (found.files if is_image else found.unread).append(Path(entry.path))
        found.labels += [label] * (len(found.files) - len(found.labels))
        if label not in found.labels[-1:]:
            raise DataError(f"{folder}: class {name!r} has no image, a file whose name ends in {', '.join(EXTENSIONS)}")
    return found
