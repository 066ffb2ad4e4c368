"""Commands on a home: its ledger, and its studies in MLflow."""

import sys
from contextlib import suppress
from pathlib import Path

import click

from hadnas.errors import StudyError, at, printable, unknown
from hadnas.shell.commands import BLOCKS_FILE, COUNTS, HOME, PathType


@click.command("ledger")
@click.argument("table", required=False)
@HOME
@click.option("--csv", type=PathType(), metavar="FILE", help="Write the table to a file.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("-n", "count", default=20, type=COUNTS, metavar="N", help="Number of last rows to show.")
def ledger_command(table: str | None, home: str | None, csv: Path | None, force: bool, count: int) -> None:
    """Show the ledger of all measurements: its tables, the rows of one, or one as CSV."""
    from hadnas.shell.tables.measured import show_ledger
    from hadnas.store.home import Home
    from hadnas.store.ledger import Ledger
    from hadnas.store.listing import export_csv

    book = Ledger(Home(home, reading=True).url)
    if csv is not None:
        export_csv(book, csv, table or "trainings", force=force)
        click.echo(f"wrote {table or 'trainings'} to {csv}")
    else:
        show_ledger(book, table, count)


@click.command("sync")
@click.argument("study")
@HOME
@BLOCKS_FILE
def sync_command(study: str, home: str | None) -> None:
    """Write to MLflow what it lacks of a study, from the database; again, it changes nothing.

    Candidates without a run, or with one that was written in part, get a new one; runs that were deleted are restored;
    runs that dead workers left open are closed.
    """
    from hadnas.search.mirror.restore import restore
    from hadnas.store.home import Home

    mirror = restore(study, Home(home, reading=True), lambda name: None, undelete=True)
    counts = {"written": len(mirror.written), "restored": len(mirror.restored), "closed": mirror.closed}
    click.echo(f"study {study!r} in MLflow: " + ", ".join(f"{count} runs {what}" for what, count in counts.items()))


@click.command("doctor")
@HOME
def doctor_command(home: str | None) -> None:
    """Examine a home: database, weights, claims of dead workers, and MLflow; exit with 1 if something is wrong.

    Each fault is printed with what mends it. Nothing is changed.
    """
    from hadnas.doctor import examine
    from hadnas.store.home import Home

    opened, count = Home(home, reading=True), 0
    for fault in examine(opened):
        count += 1
        click.echo(printable(f"{fault.place}: {fault.wrong}\n    mend: {fault.mend}"))
    click.echo(f"{opened.path}: {count or 'no'} fault{'s' * (count != 1)}")
    if count:
        sys.exit(1)


OPEN = (
    "warning: MLflow asks for no password: whoever reaches {} can read, change and delete every run; without --host, "
    "only this machine can, and `ssh -L 5000:127.0.0.1:5000 MACHINE` lets one person in"
)


@click.command("ui")
@HOME
@click.option("--port", default=5000, type=click.IntRange(1, 65535), metavar="N", help="Port of the server.")
@click.option(
    "--host", default="127.0.0.1", metavar="ADDRESS", help="Address to listen at; 0.0.0.0 lets other machines in."
)
@click.argument("study", required=False)
def ui_command(home: str | None, port: int, host: str, study: str | None) -> None:
    """Serve MLflow's UI, on this machine only, until Ctrl-C; opens at STUDY, or the latest one."""
    from hadnas.store.home import Home
    from hadnas.store.study_store import stored_study, study_names
    from hadnas.store.trials import is_behind
    from hadnas.track.server import is_local, serve
    from hadnas.track.view import FRONT_PAGE

    def ready(url: str) -> None:
        click.echo(f"{url}\n{FRONT_PAGE}\n(Ctrl-C ends it)")

    def restored(name: str) -> None:
        from hadnas.search.mirror.restore import restore

        if name not in names:  # an experiment of another tool
            return
        click.echo(f"study {name!r}: MLflow lacks runs, or the home was moved; its runs are rewritten")
        try:
            restore(name, opened)
        except StudyError as error:  # the other studies can be seen all the same
            click.echo(printable(f"study {name!r}: its runs cannot be rewritten: {error}"), err=True)

    opened = Home(home)
    names = study_names(opened)
    if study is not None and study not in names:
        with at(f"home {opened.path}"):
            raise unknown("study", study, names)
    chosen = study or (names[-1] if names else None)
    for name in names:
        with suppress(StudyError):  # damaged: the others can be seen all the same
            if is_behind(stored_study(name, opened)[1]):
                click.echo(f"study {name!r}: MLflow lacks results; `hadnas sync {name}` writes them", err=True)
    if not is_local(host):
        click.echo(OPEN.format(host), err=True)
    serve(opened.tracking_uri, opened.artifacts, chosen, port, ready, restored, host)
