"""Commands on studies: search, and their results."""

import sys
from pathlib import Path
from typing import Any

import click

from hadnas.limits import COUNT
from hadnas.shell.commands import (
    BATCHES,
    BLOCKS_FILE,
    COUNTS,
    EVALUATE,
    HOME,
    SEED_COUNTS,
    SEEDS,
    SOURCES,
    SPLIT_SEEDS,
    TRIALS,
    Duration,
    PathType,
)
from hadnas.shell.commands.data import reading
from hadnas.shell.commands.graft import grafting, named_study
from hadnas.shell.commands.overrides import AUGMENTATIONS, judging, limits, setting, updated_study


@click.command("search")
@click.argument("study")
@HOME
@setting("--trials", type=COUNTS, metavar="N", help="Budget: distinct architectures.")
@click.option(
    "--timeout",
    type=Duration(),
    metavar="TIME",
    show_default="no limit",
    help="90s, 30m or 2h: no further training starts then, and the same command continues the search.",
)
@setting("--data", metavar="DATA", help=f"{SOURCES}.")
@reading
@setting("--val-fraction", type=float, metavar="SHARE", help="Share of the images for validation, without a split.")
@setting("--objectives", metavar="LIST", help="Figures to optimise: val/accuracy,macs or val/accuracy,latency_ratio.")
@setting("--epochs", type=COUNTS, metavar="N", help="Epochs per candidate.")
@setting("--batch", type=BATCHES, metavar="N", help="Images in a training batch.")
@setting("--lr", type=float, metavar="RATE", help="Largest learning rate.")
@setting("--augment", metavar="NAME", help=f"{AUGMENTATIONS}.")
@click.option(
    "--recipe",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other setting of the recipe, such as optimizer=sgd or ema=null; may be given several times.",
)
@EVALUATE
@setting("--seed", type=SEEDS, metavar="N", help="Seed of the sampler and of every training.")
@setting("--sampler", metavar="NAME", help="surrogate, tpe (Optuna's), nsga2, random or exhaustive.")
@setting("--rungs", metavar="LIST", help="Epochs after which a training may be stopped: 2,4, or none.")
@setting(
    "--patience", type=COUNTS, metavar="N", help="End after so many architectures that hardly raise the hypervolume."
)
@click.option(
    "--baseline",
    "baselines",
    metavar="NAME",
    multiple=True,
    show_default="the study's; three of its size for own images",
    help="A timm model, published network or file; may be given several times.",
)
@click.option("--no-baselines", is_flag=True, help="Train no baselines.")
@click.option(
    "--enqueue",
    multiple=True,
    metavar="ARCH",
    help="Judge this architecture first: an arch.json, an exported folder or a published network. If the space "
    "contains it, it becomes a trial, which counts in the budget and from which the sampler learns; otherwise a "
    "baseline under its name. May be given several times.",
)
@click.option(
    "--name",
    metavar="NAME",
    show_default="that of STUDY, with -DATA for other data",
    help="Name of the stored study, by which `hadnas top NAME` finds it.",
)
@judging
@limits
@setting("--backends", metavar="LIST", help="Further backends to time front and baselines on: compile,onnxruntime.")
@grafting
@click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, or auto.")
def search_command(
    study: str,
    home: str | None,
    sites: tuple[str, ...],
    tied: bool,
    weights: str | None,
    device: str,
    timeout: float | None,
    enqueue: tuple[str, ...],
    evaluate: Any,
    **changes: Any,
) -> None:
    """Run a study; the same command again continues it to the same total.

    STUDY is the name of a shipped study or search space, or the path of your .py file that defines STUDY or SPACE;
    `hadnas list` has the names. timm:MODEL is a study of grafts into a model of timm. Like a search space, it makes a
    study of scikit-learn's digits with 20 trials. Settings that no option changes are the study's: `hadnas show STUDY`
    prints them.
    """
    from hadnas.shell.console import loading

    with loading("torch, timm, Optuna and MLflow"):
        from hadnas.library import load_named
        from hadnas.search.run import run_study
        from hadnas.shell.progress import SearchDisplay
        from hadnas.shell.tables.study import show_enqueued, show_top
        from hadnas.store.home import Home

    chosen = updated_study(named_study(study, sites, weights, tied=tied), **changes)
    queue, opened = load_named(enqueue), Home(home)
    display = SearchDisplay(chosen)
    with display.bar:
        how: dict[str, Any] = {"device": device, "timeout": timeout, "evaluate": evaluate}
        progress = run_study(chosen, opened, **how, enqueued=queue, watch=display)
    stopped = f"; {progress.stopped} trainings were stopped at a rung" if chosen.rungs else ""
    click.echo(f"{progress.ended}; {progress.refused} draws were refused{stopped}")
    show_enqueued(chosen.name, opened, queue)
    if timeout is None or progress.best is not None:
        show_top(chosen.name, opened, 5)


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
@EVALUATE
@click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, or auto.")
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
@click.option("--backend", default="eager", metavar="NAME", help="eager, compile or onnxruntime.")
@click.option("--seed", default=0, type=SPLIT_SEEDS, metavar="N", help="Seed of the candidates.")
@click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, or auto.")
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
