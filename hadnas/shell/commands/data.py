"""Options that say how images are read, of every command that takes --data."""

from collections.abc import Callable
from typing import Any

import click

from hadnas.shell.commands import SIDES

_READING: dict[str, dict[str, Any]] = {
    "--size": {"type": SIDES, "metavar": "N", "help": "Side length to which image files are resized."},
    "--skip-bad": {"is_flag": True, "default": None, "help": "Leave out image files that cannot be used."},
    "--images": {
        "metavar": "DIR",
        "show_default": "the table's",
        "help": "Folder in which the paths of a table start.",
    },
    "--path-column": {
        "metavar": "NAME",
        "show_default": "path, file, image or similar",
        "help": "A table's column of paths.",
    },
    "--label-column": {
        "metavar": "NAME",
        "show_default": "label, class or similar",
        "help": "A table's column of classes; several: labels of 0 and 1.",
        "multiple": True,
    },
    "--value-column": {"metavar": "NAME", "help": "A table's column of a number to predict.", "multiple": True},
    "--split-column": {
        "metavar": "NAME",
        "show_default": "split or similar",
        "help": "A table's column of train, val, test.",
    },
    "--input": {
        "metavar": "NAME",
        "help": "An input of an .npz file of several: images for train_images.",
        "multiple": True,
    },
    "--group": {"metavar": "COLUMN", "help": "A table's column, such as patient, no value of which is in two splits."},
}


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every field of a `DataSpec` that readers take."""
    for name, settings in reversed(_READING.items()):
        names = (name, f"{name[2:].replace('-', '_')}s") if settings.get("multiple") else (name,)
        command = click.option(*names, **settings)(command)
    return command
