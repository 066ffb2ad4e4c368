"""Commands on studies: search, and their results."""

import sys
from pathlib import Path
from typing import Any

import click

from hadnas.limits import COUNT
from hadnas.shell.commands import (
    BLOCKS_FILE,
    COUNTS,
    DEVICE,
    EVALUATE,
    HOME,
    SEED_COUNTS,
    SPLIT_SEEDS,
    TRIALS,
    PathType,
)


@click.command("top")
@click.argument("study", required=False)
@HOME
@BLOCKS_FILE
@click.option("-n", "count", default=10, type=COUNTS, metavar="N", help="Rows of the leaderboard.")
def top_command(study: str | None, home: str | None, count: int) -> None:
    """Leaderboard, Pareto front and best of each family of a study; without STUDY, the names of your studies."""
    from hadnas.shell.tables.studies import show_studies
    from hadnas.shell.tables.study import show_top
    from hadnas.store.home import Home

    opened = Home(home, reading=True)
    if study is None:
        show_studies(opened)
    else:
        show_top(study, opened, count)


@click.command("status")
@click.argument("study")
@HOME
def status_command(study: str, home: str | None) -> None:
    """Who works at a study, at what and since when, and about how long it will take."""
    from hadnas.shell.tables.status import show_status
    from hadnas.store.home import Home

    show_status(study, Home(home, reading=True))


@click.command("finals")
@click.argument("study")
@HOME
@BLOCKS_FILE
@click.option("--top", type=COUNTS, metavar="K", show_default="the Pareto front", help="The K best.")
@click.option("--seeds", default=3, type=SEED_COUNTS, metavar="N", help="Fresh seeds of every network.")
@click.option(
    "--candidates",
    type=TRIALS,
    metavar="N",
    show_default="as many as the search had",
    help="Random candidates for comparison.",
)
@click.option(
    "--under",
    multiple=True,
    metavar="KIND:STRENGTH",
    help="Score them under this stress, too; repeatable: noise, fgsm and pgd of the images, such as noise:0.1 (pixels "
    "are 0..1), or weights and channels that are pruned, such as weights:0.8.",
)
@EVALUATE
@DEVICE
def finals_command(study: str, home: str | None, evaluate: str | None, under: tuple[str, ...], **options: Any) -> None:
    """Train the best and their controls with fresh seeds, and score them once on the test split."""
    from hadnas.library import load_function
    from hadnas.opened import open_study
    from hadnas.results.finals.finals import openings
    from hadnas.results.finals.stress import read_stressed
    from hadnas.search.finals import run_finals
    from hadnas.shell.progress import SearchDisplay
    from hadnas.shell.tables.finals import show_finals, show_stressed
    from hadnas.store.home import Home

    function, opened = load_function(evaluate) if evaluate else None, Home(home, reading=True)
    open_study(study, opened.path)
    display = SearchDisplay()
    with display.bar:
        found = run_finals(study, opened, under=under, watch=display, evaluate=function, **options)
    results = open_study(study, opened.path)
    show_finals(study, found, openings(results))
    show_stressed(study, read_stressed(results))


@click.command("compare")
@click.argument("studies", metavar="STUDY STUDY...", nargs=-1, required=True)
@HOME
@BLOCKS_FILE
@click.option(
    "--out", type=PathType(), metavar="FILE", show_default="no picture", help="Picture to write: .png, .svg or .pdf."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def compare_command(studies: tuple[str, ...], home: str | None, out: Path | None, force: bool) -> None:
    """Lay the Pareto fronts of studies of one home and the same objectives over each other."""
    from hadnas.opened import open_study
    from hadnas.paths import new_file
    from hadnas.results.comparison import overlay
    from hadnas.shell.tables.study import show_overlay

    if len(set(studies)) < 2:
        raise click.UsageError("A comparison needs two different studies.")
    if out is not None and out.suffix not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"--out {out} is not allowed; allowed are names that end in .png, .svg or .pdf.")
    found = overlay([open_study(name, home) for name in dict.fromkeys(studies)])
    if out is not None:
        new_file(out, force=force)
        found.draw().savefig(out)
    show_overlay(found)
    if out is not None:
        click.echo(f"wrote {out}")


@click.command("report")
@click.argument("study")
@HOME
@BLOCKS_FILE
@click.option(
    "--out",
    type=PathType(),
    metavar="FILE",
    show_default="report.html in the study's folder",
    help="The page to write.",
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
@click.option("--trial", type=TRIALS, metavar="N", show_default="the best", help="A finished trial.")
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
@click.option("-n", "count", default=120, type=click.IntRange(100, COUNT), metavar="N", help="Candidates to time.")
@click.option("--backend", default="eager", metavar="NAME", help="eager, compile, onnxruntime or int8.")
@click.option("--seed", default=0, type=SPLIT_SEEDS, metavar="N", help="Seed of the candidates.")
@DEVICE
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
    from hadnas.search.latency.predictor import fit_predictor, load_predictor
    from hadnas.shell.tables.rankings import show_prediction, show_predictor
    from hadnas.train.device import chosen_device

    results = open_study(study, home)
    results.check_blocks()
    space, task, device = results.study.space, results.task(), chosen_device(device)
    if arch is not None:
        found = load_predictor(space, task, results.ledger, device=device, backend=backend)
        show_prediction(arch, cost(build(load_architecture(arch), task, device="meta"), *task.shapes), found)
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
