"""The shell: one group of commands, which says an error of hadnas in one sentence."""

import atexit
import errno
import gc
import os
import sys
from typing import Any

import click

from hadnas.errors import HadnasError, Interrupted, printable
from hadnas.shell.commands import network, shelf, study


class Shell(click.Group):
    """A group that says an error of hadnas in one sentence and exits with 2, and a Ctrl-C with 130."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            return super().main(*args, **kwargs)
        except Interrupted as error:
            click.echo(str(error), err=True)
            sys.exit(130)
        except HadnasError as error:
            click.echo(printable(f"error: {error}"), err=True)
            sys.exit(2)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            sys.exit(130)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            click.echo(f"error: the disk is full ({error}); make room and run the same command again", err=True)
            sys.exit(2)


@click.group(cls=Shell, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hadnas")
def main() -> None:
    """Search for small, fast vision backbones over Hadamard, additive, convolutional and attention blocks."""


for command in (
    shelf.list_command,
    shelf.show,
    shelf.copy,
    shelf.check,
    study.search,
    study.top,
    study.finals,
    study.report,
    study.products,
    study.predict,
    study.proxies,
    study.ledger,
    study.ui,
    network.export,
    network.retrain,
    network.measure,
):
    main.add_command(command)


def run() -> None:
    """What the shell starts: `main`, without the seconds that Python takes to look after its garbage.

    Torch, timm and MLflow make a million objects that live to the end. To search them for garbage at every import,
    and to take them apart one by one at exit, is two of a command's five seconds.
    """
    status = 1  # of an exception that nobody expected, which Python prints
    gc.set_threshold(10_000)

    def leave() -> None:
        lost = 0
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed before the start
            try:
                stream.flush()
            except (OSError, ValueError):  # a full disk, or closed by whoever read it
                lost = 1
        os._exit(status or lost)

    atexit.register(leave)  # runs last, after whatever libraries register
    try:
        main()
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
