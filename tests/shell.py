"""Commands as a person types them, one after the other in processes that know nothing of each other."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from click.testing import CliRunner, Result

from hadnas.blocks.registry import isolated
from hadnas.shell.cli import main


def hadnas(*arguments: object) -> Result:
    """A command in this process; a search has no worker processes, as with --workers 0."""
    return CliRunner(env={"HADNAS_WORKERS": "0"}).invoke(main, [str(argument) for argument in arguments])


@contextmanager
def process() -> Iterator[None]:
    """As in a process of its own: what the body registers, and the users' files that it runs, are forgotten."""
    before = set(sys.modules)
    with isolated():
        yield
    for name in set(sys.modules) - before:
        if name.startswith("hadnas_file_"):
            del sys.modules[name]
