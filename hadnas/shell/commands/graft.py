"""Commands on timm's networks: their sites, and the options of a search there."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hadnas.store.study import Study


@click.command("sites")
@click.argument("model")
@click.option(
    "--size", metavar="CxHxW", show_default="that of the weights, or of the model", help="Channels, height and width."
)
@click.option("--weights", metavar="FILE", show_default="none", help="Check that these fit: pretrained, or a file.")
def sites_command(model: str, size: str | None, weights: str | None) -> None:
    """List the sites of timm's MODEL: modules in whose place, or around which, a search may put something else.

    `hadnas search timm:MODEL --sites PATTERN` searches there. PATTERN is a name here, also with `*` for any part
    between two dots, `**` for any parts, {8-11} for numbers and {a,b} for names, or `kind:` and a kind.
    """
    from hadnas.library import TIMM
    from hadnas.shell.commands.overrides import sides
    from hadnas.shell.tables.sites import show_sites

    show_sites(model.removeprefix(TIMM), None if size is None else sides(size), weights)


def grafting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a study of grafts, for `named_study`."""
    for option in (
        click.option(
            "--weights",
            metavar="FILE",
            show_default="none",
            help="The start of every network of timm: none, pretrained (timm's own) or a file of weights.",
        ),
        click.option("--tied", is_flag=True, help="For timm:MODEL, one choice for all sites of a pattern."),
        click.option(
            "--sites",
            multiple=True,
            metavar="PATTERN",
            show_default="kind:block",
            help="For timm:MODEL, sites of grafts, as `hadnas sites MODEL` names them; may be given several times.",
        ),
    ):
        command = option(command)
    return command


def named_study(name: str, sites: Sequence[str], weights: str | None, *, tied: bool) -> "Study":
    """The study of a name, a path or `timm:MODEL`. Raises as `load_study`, `graft_study` and `started_from`."""
    from hadnas.library import TIMM, graft_study, load_study, started_from

    if name.startswith(TIMM):
        return graft_study(name.removeprefix(TIMM), sites or ("kind:block",), weights, tied=tied)
    if sites or tied:
        raise click.UsageError(f"--sites and --tied need a study {TIMM}NAME, such as {TIMM}resnet18.")
    study = load_study(name)
    return started_from(study, weights) if weights else study
