"""Paths as users write them."""

import os
from pathlib import Path

from hadnas.errors import SpecError


def as_path(text: str | Path) -> Path:
    """`text` as a path, with `~` and `~user` resolved; there may be nothing at it yet.

    Raises SpecError where it can be no path here: empty, too long, with a null byte, of a user who does not exist, or
    through a folder that may not be read.
    """
    if not str(text):
        raise SpecError("the path is empty; name a file or folder ('.' is the current one)")
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):  # of the second, whoever opens it says more
        return path
    except (OSError, RuntimeError, ValueError) as error:
        said = str(getattr(error, "strerror", None) or error).rstrip(".")
        shown = str(text) if len(str(text)) <= 100 else f"{str(text)[:100]}..."
        raise SpecError(f"the path {shown!r} cannot be used: {said[:1].lower()}{said[1:]}") from error
    return path
