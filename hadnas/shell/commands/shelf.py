"""Commands on what may be used: list, show, copy, check."""

import sys

import click

from hadnas.shell.commands import BLOCKS


@click.command("list")
@click.argument("what", type=click.Choice(["blocks", "spaces", "studies"]), required=False)
def list_command(what: str | None) -> None:
    """List what is shipped: blocks, search spaces, studies, published networks."""
    from hadnas.shell.tables.shelf import show_shelf

    show_shelf(what)


@click.command()
@click.argument("name")
@BLOCKS
def show(name: str) -> None:
    """Show a block, a search space, a study or an architecture, by name or by the path of a file or exported folder."""
    from hadnas.shell.tables.shelf import show_item

    show_item(name)


@click.command()
@click.argument("name")
@click.option("--to", "folder", default=".", metavar="DIR", help="Where to; here by default.")
def copy(name: str, folder: str) -> None:
    """Copy a shipped study, search space or network, to change it; search_spaces/NAME where a study has that name."""
    from hadnas.library import copy

    click.echo(f"copied to {copy(name, folder)}")


@click.command()
@click.argument("file")
def check(file: str) -> None:
    """Check the blocks of a user's file against the contract that every shipped block keeps."""
    from hadnas.contract.check import check
    from hadnas.library import own_ops
    from hadnas.shell.tables.shelf import show_findings

    faulty = 0
    for op in own_ops(file):
        findings = check(op)
        faulty += bool(findings)
        show_findings(op.name, findings)
    sys.exit(2 if faulty else 0)
