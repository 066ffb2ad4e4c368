"""Every error hadnas raises on purpose.

    HadnasError
    ├── SpecError (ValueError)      a value in a search space, architecture, study or recipe is not allowed
    ├── UnknownName (LookupError)   no registry, file or study has the name
    ├── BuildError                  an architecture cannot be built or exported
    ├── DataError                   a data set is missing, malformed or unsuitable
    ├── TrainingError               training diverged or failed
    │   └── MachineError            memory ran out, or a device or process failed; a retry may succeed
    ├── MeasurementError            the cost or latency of a module cannot be measured
    ├── StudyError                  a study, ledger or database cannot be used
    │   └── LostClaim               this worker's heartbeat stopped and another worker took over its training
    └── Interrupted                 Ctrl-C during a search: results so far are stored, the same command continues

A message states what was found, where, what is allowed and, for a name, the nearest known one.
Inner code states the fact; the public boundary adds the path once, with `at`.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class HadnasError(Exception):
    """The root: catching it catches every error hadnas raises on purpose."""


class SpecError(HadnasError, ValueError):
    """A value in a search space, architecture, study or recipe is not allowed."""


class UnknownName(HadnasError, LookupError):
    """No registry, file or study has the name."""


class BuildError(HadnasError):
    """An architecture cannot be built or exported."""


class DataError(HadnasError):
    """A data set is missing, malformed or unsuitable."""


class TrainingError(HadnasError):
    """Training diverged or failed."""


class MachineError(TrainingError):
    """Memory ran out, or a device or process failed; a retry, or another machine, may succeed."""


class MeasurementError(HadnasError):
    """The cost or latency of a module cannot be measured."""


class StudyError(HadnasError):
    """A study, ledger or database cannot be used."""


class LostClaim(StudyError):
    """This worker's heartbeat stopped and another worker took over its training."""


class Interrupted(HadnasError):
    """Ctrl-C during a search: results so far are stored, the claim on the running candidate is released."""


SHOWN = 200
"""The most characters of a value in a message."""


def cut(value: object) -> str:
    """The `repr` of `value`, at most SHOWN characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists nested too deeply
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def first_line(error: BaseException) -> str:
    """The first line of an error's text; C++ libraries append a trace."""
    return str(error).strip().partition("\n")[0]


LISTED = 40
"""The most names in a message."""


def unknown(kind: str, name: object, allowed: Iterable[str]) -> UnknownName:
    """The error for an unknown name: its kind, the name, the nearest known name and the allowed names.

    Of more than LISTED names, such as timm's models, it lists the nearest ten, or else the first, and the number.
    """
    names = sorted(allowed)
    close = get_close_matches(name[:SHOWN] if isinstance(name, str) else cut(name), names, n=10)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = names if len(names) <= LISTED else [*(close or names[:10]), f"... {len(names)} names in all"]
    known = ", ".join(listed) or "none"
    return UnknownName(f"unknown {kind} {cut(name)}{hint} (known: {known})")


def printable(text: str) -> str:
    """`text` with every control or unprintable character escaped as in a Python string."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def markdown(text: object) -> str:
    """`text` in one line of Markdown that means these characters: names, paths and reasons come from users and files.

    Neither a mark nor HTML remains, nor the end of a table's cell.
    """
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", " ".join(printable(str(text)).split()))


def check_kind(value: object, kind: type | tuple[type, ...], what: str, allowed: str) -> None:
    """Raise SpecError unless `value` is of a kind; the message has its type and, in words, what is `allowed`."""
    if not isinstance(value, kind):
        raise SpecError(f"{what} is of type {type(value).__name__}; allowed is {allowed}")


ARCHITECTURE = "an architecture, such as hadnas.load('starnet_s1'), hadnas.sample(space, task) or study.best.arch"
"""Describes an Arch in the message of `check_kind`."""


@contextmanager
def at(path: str) -> Iterator[None]:
    """Prefix the message of any HadnasError raised inside with `path`."""
    try:
        yield
    except HadnasError as error:
        raise type(error)(f"{path}: {error}") from error
