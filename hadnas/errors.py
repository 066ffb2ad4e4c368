"""Every error hadnas raises on purpose.

    HadnasError
    ├── SpecError (ValueError)      a search space, architecture, study or recipe says something that is not allowed
    ├── UnknownName (LookupError)   a name that no registry, file or study bears
    ├── BuildError                  an architecture that cannot become a module
    ├── DataError                   a data set that is missing, malformed or unfit
    ├── TrainingError               training that diverged or could not go on
    │   └── MachineError            memory ran out, or a device or process failed: another time it may succeed
    ├── MeasurementError            a module whose cost or latency cannot be taken
    ├── StudyError                  a study, ledger or database that cannot be used as asked
    │   └── LostClaim               a training that another worker took over, as this one gave no sign of life
    └── Interrupted                 Ctrl-C during a search: what was measured is kept, the same command goes on

A message says what was found, where, what is allowed and, for a name, the nearest known one.
Inner code states the bare fact; the public boundary adds the path once, with `at`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class HadnasError(Exception):
    """The root: catching it catches every error hadnas raises on purpose."""


class SpecError(HadnasError, ValueError):
    """A search space, architecture, study or recipe says something that is not allowed."""


class UnknownName(HadnasError, LookupError):
    """A name that no registry, file or study bears."""


class BuildError(HadnasError):
    """An architecture that cannot become a module."""


class DataError(HadnasError):
    """A data set that is missing, malformed or unfit."""


class TrainingError(HadnasError):
    """Training that diverged or could not go on."""


class MachineError(TrainingError):
    """Memory ran out, or a device or a process failed: another time or on another machine it may succeed."""


class MeasurementError(HadnasError):
    """A module whose cost or latency cannot be taken."""


class StudyError(HadnasError):
    """A study, ledger or database that cannot be used as asked."""


class LostClaim(StudyError):
    """A training was taken over by another worker, as this one gave no sign of life for too long."""


class Interrupted(HadnasError):
    """Ctrl-C during a search: everything measured is kept, the running candidate is given back."""


SHOWN = 200
"""Characters of a value that a message shows at most."""


def cut(value: object) -> str:
    """`value` as Python writes it, cut to what a sentence can hold."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list of lists without end
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def first_line(error: BaseException) -> str:
    """What an error says, without the trace that a C++ library writes below."""
    return str(error).strip().partition("\n")[0]


LISTED = 100
"""Names that one message lists at most."""


def unknown(kind: str, name: object, allowed: Iterable[str]) -> UnknownName:
    """The error for a name nobody bears: says the kind, the name, the nearest known name and the allowed ones.

    Of very many, as timm's models, only those near are listed.
    """
    names = sorted(allowed)
    close = get_close_matches(name[:SHOWN] if isinstance(name, str) else cut(name), names, n=5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    known = ", ".join(names if len(names) <= LISTED else [*close, f"... {len(names)} names in all"]) or "none"
    return UnknownName(f"unknown {kind} {cut(name)}{hint} (known: {known})")


def printable(text: str) -> str:
    """`text` with every character that a terminal would obey, or cannot show, written out as Python writes it."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


@contextmanager
def at(path: str) -> Iterator[None]:
    """Put the place in front of the message of any HadnasError raised inside."""
    try:
        yield
    except HadnasError as error:
        raise type(error)(f"{path}: {error}") from error
