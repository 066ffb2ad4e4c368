"""Commands on studies: search, and what was found."""

import sys
from pathlib import Path
from typing import Any

import click

from hadnas.errors import at, unknown
from hadnas.limits import COUNT
from hadnas.shell.commands import BATCHES, BLOCKS, COUNTS, FRESH, HOME, SEEDS, SIDES, SPLIT_SEEDS, TRIALS, PathType
from hadnas.shell.commands.overrides import changed, limits


@click.command()
@click.argument("study")
@HOME
@click.option("--trials", type=COUNTS, help="Budget: distinct architectures.")
@click.option("--data", metavar="DATA", help="digits, a .npz file or an image folder.")
@click.option("--size", type=SIDES, help="Side length to which the images of a folder are resized.")
@click.option("--epochs", type=COUNTS, help="Epochs per candidate.")
@click.option("--batch", type=BATCHES, help="Images in a training batch.")
@click.option("--seed", type=SEEDS)
@click.option("--sampler", metavar="NAME", help="tpe, nsga2, random or exhaustive.")
@click.option("--name", help="Name under which it is kept; by default that of its file, with -DATA for other data.")
@limits
@click.option("--backends", metavar="LIST", help="Time front and baselines on these, too: compile,onnxruntime.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def search(study: str, home: str | None, device: str, **changes: Any) -> None:
    """Run a study by name or path; the same command again goes on to the same total."""
    from hadnas.library import load_study
    from hadnas.search.run import run_study
    from hadnas.shell.progress import Shown
    from hadnas.shell.tables.study import show_top
    from hadnas.store.home import Home

    chosen = changed(load_study(study), **changes)
    place = Home(home)
    shown = Shown(chosen)
    with shown.bar:
        progress = run_study(chosen, place, device=device, watch=shown)
    click.echo(f"{progress.ended}; {progress.refused} draws were refused")
    show_top(chosen.name, place, 5)


@click.command()
@click.argument("study")
@HOME
@BLOCKS
@click.option("-n", "count", default=10, show_default=True, type=COUNTS, help="Rows of the leaderboard.")
def top(study: str, home: str | None, count: int) -> None:
    """Leaderboard, Pareto front and best of each family of a study."""
    from hadnas.shell.tables.study import show_top
    from hadnas.store.home import Home

    show_top(study, Home(home, reading=True), count)


@click.command()
@click.argument("study")
@HOME
@BLOCKS
@click.option("--top", type=COUNTS, help="The K best; the Pareto front by default.")
@click.option("--seeds", default=3, show_default=True, type=FRESH, help="Fresh seeds of every network.")
@click.option("--candidates", type=TRIALS, help="Random ones beside; by default as many as the search had.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def finals(study: str, home: str | None, **options: Any) -> None:
    """Train the best and their controls with fresh seeds, and score them once on the test split."""
    from hadnas.opened import open_study
    from hadnas.results.finals import openings
    from hadnas.search.finals import run_finals
    from hadnas.shell.progress import Shown
    from hadnas.shell.tables.finals import show_finals
    from hadnas.store.home import Home

    place = Home(home, reading=True)
    results = open_study(study, place.path)
    shown = Shown(results.study)
    with shown.bar:
        found = run_finals(study, place, watch=shown, **options)
    show_finals(study, found, openings(results))


@click.command()
@click.argument("study")
@HOME
@BLOCKS
@click.option(
    "--out",
    type=PathType(),
    metavar="FILE",
    help="By default report.html in the study's folder.",
)
def report(study: str, home: str | None, out: Path | None) -> None:
    """Write what the study found as one HTML page, and log it to MLflow."""
    from hadnas.opened import open_study
    from hadnas.results.report import write_report

    click.echo(f"wrote {write_report(open_study(study, home), out)}")


@click.command()
@click.argument("study")
@HOME
@BLOCKS
@click.option("--trial", type=TRIALS, help="A finished trial; the best by default.")
def products(study: str, home: str | None, trial: int | None) -> None:
    """What each product of a trained candidate adds, and what accuracy it loses without."""
    from hadnas.opened import open_study
    from hadnas.shell.tables.finals import show_effects

    results = open_study(study, home)
    show_effects(results, results.best if trial is None else results.trial(trial))


@click.command()
@click.argument("study")
@HOME
@click.option(
    "--arch", metavar="ARCH", help="Say ARCH's latency by the predictor that was fitted before; times nothing."
)
@BLOCKS
@click.option(
    "-n", "count", default=120, show_default=True, type=click.IntRange(100, COUNT), help="Candidates to time."
)
@click.option("--backend", default="eager", show_default=True)
@click.option("--seed", default=0, show_default=True, type=SPLIT_SEEDS)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def predict(
    study: str,
    home: str | None,
    arch: str | None,
    count: int,
    seed: int,
    device: str,
    backend: str,
) -> None:
    """Which cost predicts latency in a study's space; fits a predictor on random untrained candidates, or uses it."""
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


@click.command()
@click.argument("study")
@HOME
@BLOCKS
def proxies(study: str, home: str | None) -> None:
    """How scores without training (nwot, synflow, parameters, MACs) rank what a study trained."""
    from hadnas.opened import open_study
    from hadnas.shell.tables.rankings import show_scores

    show_scores(open_study(study, home))


@click.command()
@click.argument("table", required=False)
@HOME
@click.option("--csv", type=PathType(), metavar="FILE", help="Write the table into a file.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("-n", "count", default=20, show_default=True, type=COUNTS, help="Rows shown, the last ones.")
def ledger(table: str | None, home: str | None, csv: Path | None, force: bool, count: int) -> None:
    """What was ever measured: the ledger's tables, the rows of one, or one as CSV."""
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


@click.command()
@HOME
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.argument("study", required=False)
def ui(home: str | None, port: int, study: str | None) -> None:
    """Serve MLflow's UI, on this machine only, until Ctrl-C; opens at STUDY, or the latest one."""
    from hadnas.store.home import Home
    from hadnas.store.study_store import study_names
    from hadnas.track.server import serve

    place = Home(home)
    names = study_names(place)
    if study is not None and study not in names:
        with at(f"home {place.path}"):
            raise unknown("study", study, names)
    chosen = study or (names[-1] if names else None)
    serve(place.tracking_uri, place.artifacts, chosen, port, lambda url: click.echo(f"{url}\n(Ctrl-C ends it)"))
