"""A folder of images: one sub-folder per class, the classes in the order of timm's reader."""

import os
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import torch
from timm.utils import natural_key
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from hadnas.errors import DataError
from hadnas.paths import as_path
from hadnas.train.data.decode import Decoder, decoder
from hadnas.train.data.images import HELD_BYTES, HeldImages, Images, Source, StreamedImages, checked_names
from hadnas.train.data.reader import reader

SPLITS = ("train", "val", "test")

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


@reader("a folder of images, with a sub-folder per class", takes=lambda source: as_path(source).is_dir(), resizes=True)
def read_folder(source: str, size: int | None) -> Source:
    """Read `<class>/*`, or `train/<class>/*` and, if they exist, `val` and `test`.

    Images are in memory if their pixels take at most HELD_BYTES, else streamed. Raises DataError.
    """
    root = as_path(source)
    parts: list[str] = []
    unread: list[str] = []
    if (root / "train").is_dir():
        for entry in _entries(root):
            (parts if entry.is_dir() else unread).append(entry.name)
        if unknown := [part for part in parts if part not in SPLITS]:
            raise DataError(f"{root}: beside train there is {unknown[0]!r}; allowed are {' and '.join(SPLITS[1:])}")
    listed = {part: _list(root / part) for part in SPLITS if part in parts} or {"train": _list(root)}
    train = listed["train"]
    for part, found in listed.items():
        if found.classes != train.classes:
            raise DataError(
                f"{root}: classes of {part} {list(found.classes)} differ from those of train {list(train.classes)}"
            )
    decode = decoder((path for found in listed.values() for path in found.files), size)
    total = sum(len(found.files) for found in listed.values()) * prod(decode.shape)
    images = {part: _images(found, decode, in_memory=total <= HELD_BYTES) for part, found in listed.items()}
    others = [*(root / name for name in unread), *(path for found in listed.values() for path in found.unread)]
    notes = (_unread_words(others),) if others else ()
    return Source(255.0, train.classes, images["train"], images.get("val"), images.get("test"), notes)


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
    found = _Listed(_ordered([entry.name for entry in entries if entry.is_dir()], folder))
    found.unread += [Path(entry.path) for entry in entries if not entry.is_dir()]
    for label, name in enumerate(found.classes):
        for entry in _entries(folder / name):
            if entry.is_dir():
                raise DataError(
                    f"{folder / name}: contains the folder {entry.name!r}; allowed is one folder of images per class, "
                    f"or {', '.join(SPLITS)} with such folders"
                )
            is_image = entry.is_file() and entry.name.lower().endswith(EXTENSIONS)
            (found.files if is_image else found.unread).append(Path(entry.path))
        found.labels += [label] * (len(found.files) - len(found.labels))
        if label not in found.labels[-1:]:
            raise DataError(f"{folder}: class {name!r} has no image, a file whose name ends in {', '.join(EXTENSIONS)}")
    return found


def _ordered(names: list[str], folder: Path) -> tuple[str, ...]:
    """Class names in the order of timm's reader: numbers by value, letters without regard to case.

    Names that are equal in it, such as `a` and `A`, are in the order of their characters.
    """
    if not names:
        raise DataError(f"{folder}: not an image folder with one sub-folder per class")
    try:
        return tuple(sorted(checked_names(names, folder), key=natural_key))
    except ValueError as error:  # a digit that is not decimal, such as ²
        raise DataError(
            f"{folder}: timm cannot order the names of the classes ({error}); rename their folders"
        ) from None


def _images(listed: _Listed, decode: Decoder, in_memory: bool) -> Images:
    labels: Tensor = torch.tensor(listed.labels, dtype=torch.int64)
    if in_memory:
        return HeldImages(torch.stack([decode(path) for path in listed.files]), labels, listed.files)
    return StreamedImages(listed.files, labels, decode.shape, decode, decode.rule)
