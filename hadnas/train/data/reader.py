"""Readers of data sets by the sources they take, one file each; the first that takes a source reads it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from timm.utils import natural_key

from hadnas.errors import DataError
from hadnas.paths import as_path
from hadnas.shipped import import_all
from hadnas.train.data.images import Source, checked_names
from hadnas.train.data.target import check_targets

Read = TypeVar("Read", bound=Callable[..., Source])


@dataclass(frozen=True)
class Reader:
    """A registered reader. See `reader`."""

    about: str
    read: Callable[..., Source]
    takes: Callable[[str], bool]
    named: bool
    options: tuple[str, ...]


_READERS: dict[str, Reader] = {}


def reader(
    about: str, *, takes: Callable[[str], bool], named: bool = False, options: tuple[str, ...] = ()
) -> Callable[[Read], Read]:
    """Register a function that reads a source into a `Source`, and raises DataError for a malformed one.

    about    how its sources are written, for messages
    takes    whether a source is one of these
    named    whether these are names, not paths: readers of names are asked first
    options  fields of `DataSpec` that it takes, too, as arguments
    """

    def decorate(read: Read) -> Read:
        _READERS[about] = Reader(about, read, takes, named, options)
        return read

    return decorate


def read_source(source: str, options: Mapping[str, Any]) -> Source:
    """Read a data set by the reader that takes `source`, and check its targets.

    options: fields of `DataSpec` for readers; those that are None, False or empty are not set

    Raises DataError, also for an option that the reader does not take, and SpecError for an invalid path.
    """
    chosen = _reader_of(source)
    for name, value in options.items():
        if value and name not in chosen.options:
            fit = "; or ".join(one.about for one in _known() if name in one.options)
            raise DataError(f"{source}: `{name}` is not an option of this source; it is one of {fit}")
    found = chosen.read(source, **{name: options[name] for name in chosen.options})
    check_targets(found, source)
    return found


def options_of(source: str) -> tuple[str, ...]:
    """The fields of a `DataSpec` that the reader of a source takes. Raises as `read_source`."""
    return _reader_of(source).options


def _known() -> list[Reader]:
    import_all("hadnas.train.data.sources")
    return sorted(_READERS.values(), key=lambda one: (not one.named, one.about))


def _reader_of(source: str) -> Reader:
    path, known = as_path(source), _known()
    chosen = next((one for one in known if one.takes(source)), None)
    if chosen is None:
        wrong = "is of no known kind" if path.exists() else f"not found in {Path.cwd()}"
        raise DataError(f"data source {source!r} {wrong}; allowed are {'; '.join(one.about for one in known)}")
    return chosen


def ordered_names(names: Iterable[object], where: object) -> tuple[str, ...]:
    """Class names in the order of timm's reader: numbers by value, letters without regard to case.

    Names that are equal in it, such as `a` and `A`, are in the order of their characters. Raises DataError.
    """
    try:
        return tuple(sorted(sorted(checked_names(names, where)), key=natural_key))
    except ValueError as error:  # a digit that is not decimal, such as ²
        raise DataError(f"{where}: timm cannot order the names of the classes ({error}); rename them") from None
