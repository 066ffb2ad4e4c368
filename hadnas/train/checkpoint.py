"""The checkpoint of an unfinished training: a trainer's state in a file, written whole or not at all."""

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from hadnas.errors import SpecError, StudyError, first_line


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write the state of a trainer in place of an earlier one. Raises StudyError if it cannot be written."""
    half = _half(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.unlink(missing_ok=True)  # a link there would be followed
        torch.save(state, half)
        half.replace(path)
    except (OSError, RuntimeError) as error:  # torch raises the latter if the disk is full
        with suppress(OSError):
            half.unlink()
        raise StudyError(f"{path} cannot be written: {first_line(error)}") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state in a file, on the CPU; runs no code of the file. Raises SpecError if it is damaged or no checkpoint."""
    try:
        with zipfile.ZipFile(path) as file:
            if (bad := file.testzip()) is not None:  # torch does not check the checksums that it writes
                raise SpecError(f"the checkpoint {path} is damaged: the checksum of {bad} differs")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except SpecError:
        raise
    except Exception as error:  # zipfile, pickle and torch raise many types
        raise SpecError(f"the checkpoint {path} cannot be read: {first_line(error)}") from error
    if not isinstance(state, dict):
        raise SpecError(f"the checkpoint {path} is a {type(state).__name__}; allowed is the state of a trainer")
    return state


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a finished training, and a half-written one, if they exist."""
    path.unlink(missing_ok=True)
    _half(path).unlink(missing_ok=True)


def _half(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
