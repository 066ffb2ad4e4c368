"""Plain data, the values of architectures, search spaces and settings.

Dicts with string keys, lists, and scalars: None, bools, 64-bit integers, finite floats, strings. A tuple is read as a
list, a NumPy scalar as a Python number.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hadnas.errors import SpecError, cut

NESTING = 100
"""The most levels of dicts and lists; shipped spaces have fewer than 20."""

FILE_BYTES = 2**22
"""The largest JSON file; that of a published network has 20 kB."""


def plain(value: Any, special: Callable[[Any], Any] | None = None) -> Any:
    """A copy of `value` as plain data. Raises SpecError with the path of any other value.

    special: called with an object that is not plain data; returns plain data for it, the object itself to leave it
        in place, or None to refuse it
    """

    def visit(value: Any, path: str, depth: int) -> Any:
        if depth > NESTING:
            raise SpecError(f"it is nested deeper than {NESTING} levels, at {path[:40]}...")
        if isinstance(value, dict):
            keys = [_text(key, path, "a key") for key in value]
            items = zip(keys, value.values(), strict=True)
            return {key: visit(item, _join(path, key), depth + 1) for key, item in items}
        if isinstance(value, list | tuple):
            return [visit(item, _join(path, str(index)), depth + 1) for index, item in enumerate(value)]
        if value is None or isinstance(value, bool | int | float | str):
            return _scalar(value, path)
        import numpy as np  # late: the import takes longer than this function

        if isinstance(value, np.generic) and isinstance(number := value.item(), bool | int | float):
            return _scalar(number, path)
        replacement = special(value) if special is not None else None
        if replacement is None:
            raise _wrong(path, value, "dicts, lists, strings, numbers, True, False and None")
        return value if replacement is value else visit(replacement, path, depth + 1)

    return visit(value, "", 0)


def as_given(value: Any) -> Any:
    """`value` itself: as `special` of `plain` it leaves other objects in place, for a later check."""
    return value


def plain_fields(cls: type, fields: Any) -> Any:
    """A validator for pydantic models, run before their own: converts NumPy numbers in `fields` to Python's."""
    return plain(fields, as_given) if isinstance(fields, dict) else fields


def from_json(text: str | bytes) -> Any:
    """The plain data of a JSON text. Raises SpecError if it is not JSON or has a duplicate key."""
    try:
        text = text.decode() if isinstance(text, bytes) else text
        return plain(json.loads(text, object_pairs_hook=_once, parse_int=_integer, parse_constant=_constant))
    except RecursionError:
        raise SpecError(f"it is nested deeper than {NESTING} levels") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not JSON: it is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise SpecError(f"not JSON: {error}") from None


def from_json_file(path: Path) -> Any:
    """The plain data of a JSON file. Raises SpecError as `from_json` does, and if it is too large or unreadable."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise SpecError(f"the file cannot be read: {error.strerror}") from error
    if len(text) > FILE_BYTES:
        raise SpecError(f"the file is larger than {FILE_BYTES / 2**20:g} MiB; an architecture is smaller")
    return from_json(text)


def _scalar(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path, "text")
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise SpecError(f"{_at(path)}found an integer of {value.bit_length()} bits; allowed are 63 bits and a sign")
        return int(value)
    if not math.isfinite(value):
        raise _wrong(path, value, "a finite number")
    return float(value)


def _text(value: Any, path: str, what: str) -> str:
    if not isinstance(value, str):
        raise _wrong(path, value, f"{what} that is a string")
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate, which files, databases and terminals refuse
        raise _wrong(path, value, f"{what} of whole Unicode characters") from None
    return str.__str__(value)  # the text of an enumeration's member, too


def _wrong(path: str, value: object, allowed: str) -> SpecError:
    return SpecError(f"{_at(path)}found {cut(value)}; allowed: {allowed}")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _at(path: str) -> str:
    return f"{path}: " if path else ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise SpecError(f"the key {cut(twice)} occurs twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > 20:  # Python itself refuses above 4,300 digits
        raise SpecError(f"found an integer of {len(text)} digits; allowed are signed integers of 64 bits")
    return int(text)


def _constant(text: str) -> Any:
    raise SpecError(f"not JSON: found {text}; allowed are finite numbers")
