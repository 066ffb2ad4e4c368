"""The commands of the shell, thin over the library; each imports heavy libraries in its own function."""

import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from hadnas.limits import COUNT, SEED, SIDE, SPLIT_SEED, THREADS, WIDTH
from hadnas.paths import as_path

SOURCES = (
    "digits, digit_pairs:RULE, relations:RULE, registration, beam, in_context:LENGTH, an .npz file, a folder of "
    "images, a table of image files, torch/NAME:DIR, or holes:SHARE:SOURCE for holes in those of one image"
)
"""Data sets that the user may name, for help and messages."""
HOME = click.option(
    "--home",
    envvar="HADNAS_HOME",
    metavar="DIR",
    show_default="HADNAS_HOME, else runs",
    help="Folder of the studies.",
)


def _use_blocks(context: click.Context, option: click.Parameter, file: str | None) -> None:
    """Run a file of blocks. A command that reads a home runs no other file, since here the user names it."""
    if file is not None:
        from hadnas.library import use_blocks

        use_blocks(file)


BLOCKS_FILE = click.option(
    "--blocks",
    metavar="FILE",
    expose_value=False,
    callback=_use_blocks,
    help="Your file that defines blocks used here, such as mine.py; it is run.",
)


OWN_BLOCKS = click.option("--blocks", metavar="FILE", help="Your file that defines the study's blocks; it is run.")
DEVICE = click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, or auto.")
EVALUATE = click.option(
    "--evaluate",
    metavar="FILE:FUNCTION",
    show_default="training by the recipe",
    help="Your function that trains a candidate, as mine.py:train; the file is run.",
)
SEEDS = click.IntRange(0, SEED)
SPLIT_SEEDS = click.IntRange(0, SPLIT_SEED)
SEED_COUNTS = click.IntRange(1, 1000)
"""Numbers of seeds in the finals, which train every network with each."""
THREAD_COUNTS = click.IntRange(1, THREADS)
COUNTS = click.IntRange(1, COUNT)
BATCHES = click.IntRange(2, COUNT)
"""Images in a training batch: batch normalisation needs two."""
CLASS_COUNTS = click.IntRange(1, WIDTH)
SIDES = click.IntRange(4, SIDE)
TRIALS = click.IntRange(0, COUNT)


class PathType(click.Path):
    """A valid path, as `hadnas.paths.as_path` returns it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return as_path(value)


class Duration(click.FloatRange):
    """A time such as 90s, 30m or 2h, above 0; in seconds."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)?", str(value).strip().lower())
        seconds = float(found[1]) * {"m": 60, "h": 3600}.get(found[2], 1) if found else 0.0
        if seconds == 0:
            self.fail(f"{value!r} is not a time; allowed are seconds above 0, or such as 90s, 30m or 2h.", param, ctx)
        return seconds


SEARCH_TIME = click.option(
    "--timeout",
    type=Duration(),
    metavar="TIME",
    show_default="no limit",
    help="90s, 30m or 2h: no further training starts then, and the same command continues the search.",
)


def _without_password(context: click.Context, option: click.Parameter, uri: str | None) -> str | None:
    if uri is not None and urlsplit(uri).password:
        raise click.BadParameter("a command line is public; HADNAS_TRACKING takes an address with a password.")
    return uri


TRACKING = click.option(
    "--tracking",
    metavar="URI",
    callback=_without_password,
    show_default="HADNAS_TRACKING, else in the home",
    help="MLflow's store, as http://host:5000 of a server.",
)


class Seconds(click.FloatRange):
    """A time above 0 and up to a day."""

    def __init__(self) -> None:
        super().__init__(0, 86_400, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):  # FloatRange accepts it: every comparison with NaN is false
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return found
