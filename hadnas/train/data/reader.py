"""Readers of data sets by the sources they take, one file each; the first that takes a source reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from hadnas.errors import DataError
from hadnas.paths import as_path
from hadnas.shipped import import_all
from hadnas.train.data.images import Source

Read = TypeVar("Read", bound=Callable[..., Source])


@dataclass(frozen=True)
class Reader:
    """A registered reader. See `reader`."""

    about: str
    read: Callable[..., Source]
    takes: Callable[[str], bool]
    named: bool
    resizes: bool


_READERS: dict[str, Reader] = {}


def reader(
    about: str, *, takes: Callable[[str], bool], named: bool = False, resizes: bool = False
) -> Callable[[Read], Read]:
    """Register a function that reads a source into a `Source`, and raises DataError for a malformed one.

    about    how its sources are written, for messages
    takes    whether a source is one of these
    named    whether these are names, not paths: readers of names are asked first
    resizes  whether it takes `size`, too: the side in pixels to which images are resized, or None
    """

    def decorate(read: Read) -> Read:
        _READERS[about] = Reader(about, read, takes, named, resizes)
        return read

    return decorate


def read_source(source: str, size: int | None) -> Source:
    """Read a data set by the reader that takes `source`, and check its classes.

    Raises DataError, and SpecError for an invalid path.
    """
    import_all("hadnas.train.data")
    path = as_path(source)
    known = sorted(_READERS.values(), key=lambda one: (not one.named, one.about))
    chosen = next((one for one in known if one.takes(source)), None)
    if chosen is None:
        wrong = "is of no known kind" if path.exists() else f"not found in {Path.cwd()}"
        raise DataError(f"data source {source!r} {wrong}; allowed are {'; '.join(one.about for one in known)}")
    if size is not None and not chosen.resizes:
        raise DataError(f"{source}: `size` resizes the images of a folder; this source has images of one size already")
    found = chosen.read(source, size) if chosen.resizes else chosen.read(source)
    _check_classes(found, source)
    return found


def _check_classes(found: Source, where: str) -> None:
    """Raise DataError unless every class has a training image, every label a class, and there are two classes."""
    names = found.class_names
    if len(names) < 2:
        raise DataError(f"{where}: only one class, {names[0]!r}; a classifier needs at least two")
    for part, images in (("train", found.train), ("val", found.val), ("test", found.test)):
        if images is not None and (bad := images.labels[(images.labels < 0) | (images.labels >= len(names))]).numel():
            raise DataError(f"{where}: {part} label {int(bad[0])} is out of range 0..{len(names) - 1}")
    counts = torch.bincount(found.train.labels, minlength=len(names))
    empty = int(counts.argmin())
    if counts[empty] == 0:
        raise DataError(f"{where}: class {names[empty]!r} (label {empty}) has no training image")
