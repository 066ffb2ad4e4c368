"""The shell: one group of commands, which prints an error of hadnas as one sentence."""

import atexit
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from hadnas.errors import HadnasError, Interrupted, printable
from hadnas.shell.commands import bench, distill, graft, home, measure, network, search, shelf, study
from hadnas.shell.workers.link import this_link
from hadnas.signals import interrupted_by


class Shell(click.Group):
    """Prints an error of hadnas as one sentence and exits with 2; exits with 130 on Ctrl-C."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with whole summaries, where click cuts them to one line."""
        found = [(name, command.get_short_help_str(1000)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(found)

    def main(self, args: Sequence[str] | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        kwargs["standalone_mode"] = False
        arguments = [*(sys.argv[1:] if args is None else args)]
        if (link := this_link()) is None:
            return self._run(arguments, lambda said: click.echo(said, err=True), **kwargs)
        failed: list[str] = []
        try:
            with interrupted_by(signal.SIGTERM, signal.SIGHUP):
                return self._run(arguments, failed.append, **kwargs)
        except BaseException as error:  # a worker that ends without a message has died
            status = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
            link.fail("\n".join(failed), status)
            raise

    def _run(self, arguments: list[str], say: Callable[[str], object], **kwargs: Any) -> Any:
        """Run a command; says an error in one sentence, and exits with its status."""
        try:
            return super().main(arguments, obj=arguments, **kwargs)
        except Interrupted as error:
            say(str(error))
            sys.exit(130)
        except HadnasError as error:
            say(printable(f"error: {error}"))
            sys.exit(2)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            say("interrupted")
            sys.exit(130)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            say(f"error: the disk is full ({error}); make room and run the same command again")
            sys.exit(2)


@click.group(cls=Shell, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="hadnas")
def main() -> None:
    """Search for small, fast vision backbones over Hadamard, additive, convolutional and attention blocks."""


for command in (
    shelf.list_command,
    shelf.show_command,
    shelf.copy_command,
    shelf.check_command,
    graft.sites_command,
    search.search_command,
    distill.distill_command,
    search.work_command,
    study.status_command,
    study.top_command,
    study.finals_command,
    study.report_command,
    study.products_command,
    study.predict_command,
    study.proxies_command,
    home.ledger_command,
    home.ui_command,
    home.sync_command,
    home.doctor_command,
    bench.bench_command,
    study.compare_command,
    network.pick_command,
    network.export_command,
    network.retrain_command,
    measure.measure_command,
):
    main.add_command(command)


def run() -> None:
    """The entry point: runs `main` with little garbage collection, and exits without freeing objects.

    Torch, timm and MLflow make a million objects that live to the end. Collecting at every import and freeing them one
    by one at exit takes two of a command's five seconds.
    """
    status = 1  # of an unexpected exception, which Python prints
    gc.set_threshold(10_000)

    def leave() -> None:
        lost = 0
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None if it was closed before the start
            try:
                stream.flush()
            except (OSError, ValueError):  # a full disk, or closed by its reader
                lost = 1
        os._exit(status or lost)

    atexit.register(leave)  # registered first, so it runs after the handlers of all libraries
    try:
        with interrupted_by(signal.SIGTERM, signal.SIGHUP):
            main()
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
