"""Paths as users write them, and the files there."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hadnas.errors import SpecError, StudyError


def as_path(text: str | Path) -> Path:
    """`text` as a path, with `~` and `~user` resolved; it need not exist.

    Raises SpecError for an invalid path: empty, too long, with a null byte, with an unknown `~user`, or below a folder
    without read permission.
    """
    if not str(text):
        raise SpecError("the path is empty; name a file or folder ('.' is the current one)")
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):  # opening the path reports the second in more detail
        return path
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        shown = str(text) if len(str(text)) <= 100 else f"{str(text)[:100]}..."
        raise SpecError(f"the path {shown!r} cannot be used: {reason[:1].lower()}{reason[1:]}") from error
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, one process at a time. Raises StudyError for a link, which another may have put there."""
    from filelock import FileLock

    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        raise StudyError(f"{path} cannot be locked ({error.strerror}); remove it") from None
    try:
        yield
    finally:
        lock.release()


def new_file(path: Path, *, force: bool) -> None:
    """Make a file, empty; one to be overwritten stays as it is until the new content is written.

    Raises StudyError if it exists and is not to be overwritten, or cannot be written.
    """
    try:
        path.open("a" if force else "x").close()
    except FileExistsError:
        raise StudyError(f"{path} exists already; name another file, or overwrite it with --force") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be written ({error.strerror})") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
