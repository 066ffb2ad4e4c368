"""Plain data: what architectures, search spaces and settings may hold, however they come in.

They are dicts with strings as keys, lists, and scalars: None, bools, integers of 64 bits, finite floats, strings. A
tuple counts as a list, and what NumPy calls a scalar as the Python number that it holds.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hadnas.errors import SpecError, cut

DEPTH = 100
"""Levels of dicts and lists; those of shipped spaces are below 20."""

FILE_BYTES = 2**22
"""The largest file that is read as JSON; that of a published network has 20 kB."""


def plain(value: Any, special: Callable[[Any], Any] | None = None) -> Any:
    """`value` as plain data of its own. Raises SpecError with the place of anything else.

    special: gives plain data for an object that is not, or the object itself, which then stays; None refuses it
    """

    def visit(value: Any, path: str, depth: int) -> Any:
        if depth > DEPTH:
            raise SpecError(f"it is nested deeper than {DEPTH} levels, from {path[:40]}... on")
        if isinstance(value, dict):
            keys = [_text(key, path, "a key") for key in value]
            items = zip(keys, value.values(), strict=True)
            return {key: visit(item, _join(path, key), depth + 1) for key, item in items}
        if isinstance(value, list | tuple):
            return [visit(item, _join(path, str(index)), depth + 1) for index, item in enumerate(value)]
        if value is None or isinstance(value, bool | int | float | str):
            return _scalar(value, path)
        import numpy as np  # late, as it takes longer than all of this

        if isinstance(value, np.generic) and isinstance(number := value.item(), bool | int | float):
            return _scalar(number, path)
        given = special(value) if special is not None else None
        if given is None:
            raise _wrong(path, value, "dicts, lists, strings, numbers, True, False and None")
        return given if given is value else visit(given, path, depth + 1)

    return visit(value, "", 0)


def as_given(value: Any) -> Any:
    """`value`: as `special` of `plain` it lets what is no plain data stay, for others to judge."""
    return value


def plain_fields(cls: type, fields: Any) -> Any:
    """For pydantic's models of settings, before they look at their fields: NumPy's numbers become Python's."""
    return plain(fields, as_given) if isinstance(fields, dict) else fields


def from_json(text: str | bytes) -> Any:
    """The plain data of a JSON text. Raises SpecError where it is none, or says one key twice."""
    try:
        text = text.decode() if isinstance(text, bytes) else text
        return plain(json.loads(text, object_pairs_hook=_once, parse_int=_integer, parse_constant=_constant))
    except RecursionError:
        raise SpecError(f"it is nested deeper than {DEPTH} levels") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not JSON: it is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise SpecError(f"not JSON: {error}") from None


def from_json_file(path: Path) -> Any:
    """The plain data of a JSON file. Raises SpecError as `from_json` does, and where it is too large or unreadable."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise SpecError(f"the file cannot be read: {error.strerror}") from error
    if len(text) > FILE_BYTES:
        raise SpecError(f"the file is larger than {FILE_BYTES / 2**20:g} MiB, more than an architecture takes")
    return from_json(text)


def _scalar(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path, "text")
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise SpecError(f"{_at(path)}found an integer of {value.bit_length()} bits; allowed are 63 and a sign")
        return int(value)
    if not math.isfinite(value):
        raise _wrong(path, value, "a finite number")
    return float(value)


def _text(value: Any, path: str, what: str) -> str:
    if not isinstance(value, str):
        raise _wrong(path, value, f"{what} that is a string")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates: neither a file, a database nor a screen takes it
        raise _wrong(path, value, f"{what} of whole Unicode characters") from None
    return str.__str__(value)  # of an enumeration, too, the text


def _wrong(path: str, value: object, allowed: str) -> SpecError:
    return SpecError(f"{_at(path)}found {cut(value)}; allowed: {allowed}")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _at(path: str) -> str:
    return f"{path}: " if path else ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise SpecError(f"the key {cut(twice)} stands twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > 20:  # Python itself refuses above 4,300 digits
        raise SpecError(f"found an integer of {len(text)} digits; allowed are integers of 64 bits")
    return int(text)


def _constant(text: str) -> Any:
    raise SpecError(f"not JSON: found {text}; allowed are finite numbers")
