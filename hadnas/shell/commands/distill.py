"""The command of block-wise distillation."""

from typing import Any

import click

from hadnas.shell.commands import COUNTS, HOME, SEEDS, SOURCES
from hadnas.shell.commands.data import reading
from hadnas.shell.commands.graft import grafting, named_study
from hadnas.shell.commands.overrides import limits, setting, updated_study


@click.command("distill")
@click.argument("study")
@HOME
@setting("--data", metavar="DATA", help=f"{SOURCES}.")
@reading
@setting("--val-fraction", type=float, metavar="SHARE", help="Share of the images for validation, without a split.")
@setting("--seed", type=SEEDS, metavar="N", help="Seed of every training.")
@click.option(
    "--name", metavar="NAME", show_default="that of STUDY, with -DATA for other data", help="Name of the stored study."
)
@click.option(
    "--limit", "figure", default="macs", metavar="FIGURE", help="What is limited: macs, params, latency_ms, ..."
)
@click.option("--best", default=8, type=COUNTS, metavar="K", help="Limits, each with its best combination.")
@click.option("--steps", default=300, type=COUNTS, metavar="N", help="Updates of every new module.")
@limits
@grafting
@click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, or auto.")
def distill_command(
    study: str,
    home: str | None,
    sites: tuple[str, ...],
    tied: bool,
    weights: str | None,
    figure: str,
    best: int,
    steps: int,
    device: str,
    **changes: Any,
) -> None:
    """Score every option of a study of grafts alone, in minutes, and enqueue the best combinations for its search.

    Each module that would replace one of the trained network learns to give its output; the score is how far the
    network's classes then are from those before. The best combination for each of K limits, from the least possible to
    the network's own or to --max-macs, is what `hadnas search` with the same STUDY, data and --sites trains first, from
    the distilled weights in the file that this command writes and names for its --weights.
    """
    from hadnas.shell.console import loading

    with loading("torch, timm and Optuna"):
        from hadnas.search.distill.distill import distill
        from hadnas.shell.progress import DistillDisplay
        from hadnas.shell.tables.distill import show_distilled
        from hadnas.store.home import Home

    chosen = updated_study(named_study(study, sites, weights, tied=tied), **changes)
    display = DistillDisplay()
    with display.bar:
        found = distill(chosen, Home(home), figure=figure, best=best, steps=steps, device=device, say=display)
    show_distilled(found)
