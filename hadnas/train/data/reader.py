"""Readers of data sets by the sources they take, one file each; the first that takes a source reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hadnas.errors import DataError
from hadnas.paths import as_path
from hadnas.shipped import import_all
from hadnas.train.data.images import Source
from hadnas.train.data.target import check_targets

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
    """Read a data set by the reader that takes `source`, and check its targets.

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
    check_targets(found, source)
    return found
