"""The commands of the shell, thin over the library; everything heavy is imported inside the one that needs it."""

import math
from pathlib import Path
from typing import Any

import click

from hadnas.limits import COUNT, SEED, SIDE, SPLIT_SEED, THREADS, WIDTH
from hadnas.paths import as_path

HOME = click.option("--home", envvar="HADNAS_HOME", metavar="DIR", help="Where studies live; runs/ by default.")


def _use_blocks(context: click.Context, option: click.Parameter, file: str | None) -> None:
    """Run the file: the one way in which a command that reads a home runs any, as the person who typed it named it."""
    if file is not None:
        from hadnas.library import use_blocks

        use_blocks(file)


BLOCKS = click.option(
    "--blocks",
    metavar="FILE",
    expose_value=False,
    callback=_use_blocks,
    help="The file of yours that defines blocks used here, such as mine.py; it is run.",
)
SEEDS = click.IntRange(0, SEED)
SPLIT_SEEDS = click.IntRange(0, SPLIT_SEED)
FRESH = click.IntRange(1, 1000)
"""Seeds of the finals, with each of which every network is trained."""
THREAD_COUNTS = click.IntRange(1, THREADS)
COUNTS = click.IntRange(1, COUNT)
BATCHES = click.IntRange(2, COUNT)
"""Images in a training batch: normalisation needs two."""
WIDTHS = click.IntRange(1, WIDTH)
SIDES = click.IntRange(4, SIDE)
TRIALS = click.IntRange(0, COUNT)


class PathType(click.Path):
    """A path that can be one, as `hadnas.paths.as_path` gives it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return as_path(value)


class Seconds(click.FloatRange):
    """A time above 0 and up to a day."""

    def __init__(self) -> None:
        super().__init__(0, 86_400, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):  # which no comparison finds outside of the range
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return found
