"""Commands that search: `search` with a study of any kind, `work` with one that a home has."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from hadnas.errors import StudyError, UnknownName
from hadnas.shell.commands import (
    BATCHES,
    COUNTS,
    DEVICE,
    EVALUATE,
    HOME,
    OWN_BLOCKS,
    SEARCH_TIME,
    SEEDS,
    SOURCES,
    TRACKING,
)
from hadnas.shell.commands.data import reading
from hadnas.shell.commands.graft import grafting, named_study
from hadnas.shell.commands.overrides import AUGMENTATIONS, judging, limits, setting, updated_study
from hadnas.shell.workers.supervised import run_search, supervised

if TYPE_CHECKING:
    from hadnas.arch.node import Arch
    from hadnas.search.progress import Progress
    from hadnas.store.home import Home
    from hadnas.store.study import Study


@click.command("search")
@click.argument("study")
@HOME
@setting("--trials", type=COUNTS, metavar="N", help="Budget: distinct architectures.")
@SEARCH_TIME
@setting("--data", metavar="DATA", help=f"{SOURCES}.")
@reading
@setting("--val-fraction", type=float, metavar="SHARE", help="Share of the examples for validation, without a split.")
@setting("--objectives", metavar="LIST", help="Figures to optimise: val/accuracy,macs or val/accuracy,latency_ratio.")
@setting("--epochs", type=COUNTS, metavar="N", help="Epochs per candidate.")
@setting("--batch", type=BATCHES, metavar="N", help="Examples in a training batch.")
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
@setting(
    "--backends", metavar="LIST", help="Further backends to time front and baselines on: compile,onnxruntime,int8."
)
@grafting
@DEVICE
@TRACKING
@supervised
def search_command(
    study: str,
    home: str | None,
    tracking: str | None,
    sites: tuple[str, ...],
    tied: bool,
    weights: str | None,
    device: str,
    timeout: float | None,
    enqueue: tuple[str, ...],
    evaluate: str | None,
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
        from hadnas.library import load_function, load_named
        from hadnas.store.home import Home

    function = load_function(evaluate) if evaluate else None
    try:
        named = named_study(study, sites, weights, tied=tied)
    except UnknownName:
        _refuse_stored(study, home)
        raise
    chosen = updated_study(named, **changes)
    queue, opened = load_named(enqueue), Home(home, tracking=tracking)
    how: dict[str, Any] = {"device": device, "timeout": timeout, "evaluate": function, "enqueued": queue}
    _show(chosen, opened, run_search(chosen, opened, **how), queue)


def _refuse_stored(name: str, home: str | None) -> None:
    """Raise UnknownName for the name of a study that the home has; nothing without a home."""
    from hadnas.store.home import Home
    from hadnas.store.study_store import study_names

    with suppress(StudyError):
        if name in study_names(Home(home, reading=True)):
            found = f"{name!r} is a study of this home, and no file or shipped study"
            raise UnknownName(f"{found}; `hadnas work {name}` continues it, as does the command that began it")


@click.command("work")
@click.argument("study")
@HOME
@OWN_BLOCKS
@EVALUATE
@SEARCH_TIME
@DEVICE
@TRACKING
@supervised
def work_command(
    study: str, home: str | None, blocks: str | None, evaluate: str | None, tracking: str | None, **how: Any
) -> None:
    """Work at a study that a home has, beside its other workers, until its budget is met.

    It needs the study's name and its database: HADNAS_STORAGE, such as postgresql://user@host/name, names that of other
    machines. If the study's data or blocks are not on this machine, it says which, and changes nothing.
    """
    from hadnas.library import load_function, use_blocks
    from hadnas.results.table import StudyResults
    from hadnas.store.home import Home

    function = load_function(evaluate) if evaluate else None
    if blocks is not None:
        use_blocks(blocks)
    opened = Home(home, tracking=tracking, reading=True)
    results = StudyResults(study, opened)
    results.check_blocks()
    results.ledger.close()
    _show(results.study, opened, run_search(results.study, opened, evaluate=function, retry=False, **how))


def _show(study: "Study", home: "Home", progress: "Progress | None", queue: Mapping[str, "Arch"] | None = None) -> None:
    """Print why the search ended and its best; nothing if another worker does."""
    from hadnas.search.run import TIME_OVER
    from hadnas.shell.tables.study import show_enqueued, show_top

    if progress is None:
        return
    stopped = f"; {progress.stopped} trainings were stopped at a rung" if study.rungs else ""
    click.echo(f"{progress.ended}; {progress.refused} draws were refused{stopped}")
    show_enqueued(study.name, home, queue or {})
    if progress.ended != TIME_OVER or progress.best is not None:
        show_top(study.name, home, 5)
