"""The command that replays samplers on a table."""

import sys
from pathlib import Path
from typing import Any

import click

from hadnas.paths import new_file
from hadnas.shell.commands import COUNTS, PathType


@click.command("bench")
@click.argument("space")
@click.argument("table", type=PathType(), nargs=-1, required=True)
@click.option("--maximize", multiple=True, metavar="COLUMN", help="An objective; may be given several times.")
@click.option("--minimize", multiple=True, metavar="COLUMN", help="An objective; may be given several times.")
@click.option("--known", multiple=True, metavar="COLUMN", help="An objective that is known without training.")
@click.option("--judge", multiple=True, metavar="OBJECTIVE=COLUMN", help="The column that judges an objective.")
@click.option("--feature", multiple=True, metavar="COLUMN", help="A column that the surrogate may learn from.")
@click.option(
    "--work", default="", metavar="COLUMN", show_default="all trainings are alike", help="The work of one epoch."
)
@click.option(
    "--epochs",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Of a training; rungs need them, and the columns val_accuracy@1, ..., of its curve.",
)
@click.option(
    "--sampler",
    multiple=True,
    default=("tpe", "surrogate"),
    metavar="NAME",
    help="With options, as surrogate,pool=600,rungs=2+4; the others are compared with the first.",
)
@click.option(
    "--budget", multiple=True, type=COUNTS, default=(50, 100), metavar="N", help="Networks that a search tries."
)
@click.option("--seeds", type=COUNTS, default=10, metavar="N", help="Searches of each sampler.")
@click.option("--processes", type=click.IntRange(1, 256), default=2, metavar="N", help="Processes that search.")
@click.option("--csv", type=PathType(), metavar="FILE", help="Write the score of every search into a file.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def bench_command(
    space: str,
    table: tuple[Path, ...],
    sampler: tuple[str, ...],
    budget: tuple[int, ...],
    seeds: int,
    processes: int,
    csv: Path | None,
    force: bool,
    **columns: Any,
) -> None:
    """Replay samplers on the table of a space, without training: what each reaches after so many networks.

    TABLE is a CSV file, or several, with a row for every draw of SPACE: a column for each decision, `key` (draws of one
    key are one network), `seed` (several trainings of a draw), and figures. A search sees one training of a network;
    what it chooses is judged by the means over all. Without `key`, every draw is a network of its own.
    """
    from hadnas.library import load_study
    from hadnas.replay.replay import contender, replays
    from hadnas.replay.scores import write_scores
    from hadnas.replay.table import goal, read_table
    from hadnas.shell.tables.bench import show_searches

    contenders, budgets = [contender(text) for text in sampler], sorted(set(budget))
    known_table = read_table(load_study(space).space, table, goal(**columns))
    searches = replays(known_table, contenders, seeds, max(budgets), processes)
    if csv is not None:
        new_file(csv, force=force)
    with click.progressbar(searches, length=seeds * len(contenders), label="searches", file=sys.stderr) as shown:
        found = list(shown)
    show_searches(known_table, found, budgets)
    if csv is not None:
        write_scores(csv, found)
        click.echo(f"wrote {csv}")
