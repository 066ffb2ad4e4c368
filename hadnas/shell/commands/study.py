"""Commands on studies: search, and their results."""

import sys
from pathlib import Path
from typing import Any

import click

from hadnas.errors import StudyError, at, unknown
from hadnas.limits import COUNT
from hadnas.shell.commands import (
    BATCHES,
    BLOCKS_FILE,
    COUNTS,
    HOME,
    SEED_COUNTS,
    SEEDS,
    SOURCES,
    SPLIT_SEEDS,
    TRIALS,
    PathType,
)
from hadnas.shell.commands.data import reading
from hadnas.shell.commands.overrides import judging, limits, updated_study


@click.command("search")
@click.argument("study")
@HOME
@click.option("--trials", type=COUNTS, help="Budget: distinct architectures.")
@click.option("--data", metavar="DATA", help=f"{SOURCES}.")
@reading
@click.option("--epochs", type=COUNTS, help="Epochs per candidate.")
@click.option("--batch", type=BATCHES, help="Images in a training batch.")
@click.option("--seed", type=SEEDS, help="Seed of the sampler and of every training.")
@click.option("--sampler", metavar="NAME", help="surrogate, tpe (Optuna's), nsga2, random or exhaustive.")
@click.option("--rungs", metavar="LIST", help="Epochs after which a training may be stopped: 2,4, or none.")
@click.option("--patience", type=COUNTS, help="End after so many architectures that hardly raise the hypervolume.")
@click.option("--baseline", "baselines", metavar="NAME", multiple=True, help="A timm model, published network or file.")
@click.option("--no-baselines", is_flag=True, help="Train no baselines; by default three are chosen for own images.")
@click.option("--name", help="Name of the stored study; by default that of its file, with -DATA for other data.")
@judging
@limits
@click.option(
    "--backends", metavar="LIST", help="Further backends to time front and baselines on: compile,onnxruntime."
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def search_command(study: str, home: str | None, device: str, **changes: Any) -> None:
    """Run a study by name or path; the same command again continues it to the same total.

    What no option changes is the study's: `hadnas show STUDY` prints it. A search space makes a study of the digits
    with 20 trials.
    """
    from hadnas.library import load_study
    from hadnas.search.run import run_study
    from hadnas.shell.progress import SearchDisplay
    from hadnas.shell.tables.study import show_top
    from hadnas.store.home import Home

    chosen = updated_study(load_study(study), **changes)
    opened = Home(home)
    display = SearchDisplay(chosen)
    with display.bar:
        progress = run_study(chosen, opened, device=device, watch=display)
    stopped = f"; {progress.stopped} trainings were stopped at a rung" if chosen.rungs else ""
    click.echo(f"{progress.ended}; {progress.refused} draws were refused{stopped}")
    show_top(chosen.name, opened, 5)


@click.command("top")
@click.argument("study")
@HOME
@BLOCKS_FILE
@click.option("-n", "count", default=10, show_default=True, type=COUNTS, help="Rows of the leaderboard.")
def top_command(study: str, home: str | None, count: int) -> None:
    """Leaderboard, Pareto front and best of each family of a study."""
    from hadnas.shell.tables.study import show_top
    from hadnas.store.home import Home

    show_top(study, Home(home, reading=True), count)


@click.command("finals")
@click.argument("study")
@HOME
@BLOCKS_FILE
@click.option("--top", type=COUNTS, help="The K best; the Pareto front by default.")
@click.option("--seeds", default=3, show_default=True, type=SEED_COUNTS, help="Fresh seeds of every network.")
@click.option(
    "--candidates", type=TRIALS, help="Random candidates for comparison; by default as many as the search had."
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def finals_command(study: str, home: str | None, **options: Any) -> None:
    """Train the best and their controls with fresh seeds, and score them once on the test split."""
    from hadnas.opened import open_study
    from hadnas.results.finals import openings
    from hadnas.search.finals import run_finals
    from hadnas.shell.progress import SearchDisplay
    from hadnas.shell.tables.finals import show_finals
    from hadnas.store.home import Home

    opened = Home(home, reading=True)
    results = open_study(study, opened.path)
    display = SearchDisplay(results.study)
    with display.bar:
        found = run_finals(study, opened, watch=display, **options)
    show_finals(study, found, openings(results))


@click.command("report")
@click.argument("study")
@HOME
@BLOCKS_FILE
@click.option(
    "--out",
    type=PathType(),
    metavar="FILE",
    help="By default report.html in the study's folder.",
)
def report_command(study: str, home: str | None, out: Path | None) -> None:
    """Write the results of a study as one HTML page, and log it to MLflow."""
    from hadnas.opened import open_study
    from hadnas.results.report import write_report

    click.echo(f"wrote {write_report(open_study(study, home), out)}")


@click.command("products")
@click.argument("study")
@HOME
@BLOCKS_FILE
@click.option("--trial", type=TRIALS, help="A finished trial; the best by default.")
def products_command(study: str, home: str | None, trial: int | None) -> None:
    """The effect of each product in a trained candidate: its size, and the accuracy lost without it."""
    from hadnas.opened import open_study
    from hadnas.shell.tables.finals import show_effects

    results = open_study(study, home)
    show_effects(results, results.best if trial is None else results.trial(trial))


@click.command("predict")
@click.argument("study")
@HOME
@click.option("--arch", metavar="ARCH", help="Predict ARCH's latency with the predictor fitted before; times nothing.")
@BLOCKS_FILE
@click.option(
    "-n", "count", default=120, show_default=True, type=click.IntRange(100, COUNT), help="Candidates to time."
)
@click.option("--backend", default="eager", show_default=True)
@click.option("--seed", default=0, show_default=True, type=SPLIT_SEEDS)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def predict_command(
    study: str,
    home: str | None,
    arch: str | None,
    count: int,
    seed: int,
    device: str,
    backend: str,
) -> None:
    """Fit a latency predictor on random untrained candidates of a study's space, or use the one fitted before."""
    from hadnas.hosts.build import build
    from hadnas.library import load_architecture
    from hadnas.measure.cost import cost
    from hadnas.opened import open_study
    from hadnas.search.predictor import fit_predictor, load_predictor
    from hadnas.shell.tables.rankings import show_prediction, show_predictor
    from hadnas.train.device import chosen_device

    results = open_study(study, home)
    results.check_blocks()
    space, task, device = results.study.space, results.task(), chosen_device(device)
    if arch is not None:
        found = load_predictor(space, task, results.ledger, device=device, backend=backend)
        show_prediction(arch, cost(build(load_architecture(arch), task, device="meta"), task.shape), found)
        return
    with click.progressbar(length=count, label="candidates timed", file=sys.stderr) as bar:
        found = fit_predictor(
            space,
            task,
            results.ledger,
            n=count,
            seed=seed,
            device=device,
            backend=backend,
            say=lambda done: bar.update(1),
        )
    show_predictor(study, found)


@click.command("proxies")
@click.argument("study")
@HOME
@BLOCKS_FILE
def proxies_command(study: str, home: str | None) -> None:
    """Rank a study's trained architectures by scores without training (nwot, synflow, parameters, MACs)."""
    from hadnas.opened import open_study
    from hadnas.shell.tables.rankings import show_scores

    show_scores(open_study(study, home))


@click.command("ledger")
@click.argument("table", required=False)
@HOME
@click.option("--csv", type=PathType(), metavar="FILE", help="Write the table to a file.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("-n", "count", default=20, show_default=True, type=COUNTS, help="Number of last rows to show.")
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


@click.command("ui")
@HOME
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.argument("study", required=False)
def ui_command(home: str | None, port: int, study: str | None) -> None:
    """Serve MLflow's UI, on this machine only, until Ctrl-C; opens at STUDY, or the latest one."""
    from hadnas.store.home import Home
    from hadnas.store.study_store import study_names
    from hadnas.track.server import serve

    def ready(url: str) -> None:
        click.echo(f"{url}\n(Ctrl-C ends it)")

    def restored(name: str) -> None:
        from hadnas.search.restore import restore

        if name not in names:  # an experiment of another tool
            return
        click.echo(f"study {name!r}: MLflow lacks runs, or the home was moved; its runs are rewritten")
        try:
            restore(name, opened)
        except StudyError as error:  # the other studies can be seen all the same
            click.echo(f"study {name!r}: its runs cannot be rewritten: {error}", err=True)

    opened = Home(home)
    names = study_names(opened)
    if study is not None and study not in names:
        with at(f"home {opened.path}"):
            raise unknown("study", study, names)
    chosen = study or (names[-1] if names else None)
    serve(opened.tracking_uri, opened.artifacts, chosen, port, ready, restored)
