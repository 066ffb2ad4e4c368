"""Commands on shipped and user-defined items: list, show, copy, check."""

import sys

import click

from hadnas.shell.commands import BLOCKS_FILE


@click.command("list")
@click.argument("what", type=click.Choice(["blocks", "spaces", "networks", "studies"]), required=False)
def list_command(what: str | None) -> None:
    """List shipped blocks, search spaces, studies and published networks."""
    from hadnas.shell.tables.shelf import show_shelf

    show_shelf(what)


@click.command("show")
@click.argument("name")
@BLOCKS_FILE
@click.option("--json", "as_json", is_flag=True, help="Print a space, study or architecture as JSON, whole.")
def show_command(name: str, as_json: bool) -> None:
    """Show a block, a search space, a study or an architecture, by name or by the path of a file or exported folder."""
    from hadnas.shell.tables.shelf import show_item

    show_item(name, as_json=as_json)


@click.command("copy")
@click.argument("name")
@click.option("--to", "folder", default=".", metavar="DIR", show_default="the current one", help="Target folder.")
def copy_command(name: str, folder: str) -> None:
    """Copy a shipped study, search space or network, to edit it."""
    from hadnas.library import copy

    click.echo(f"copied to {copy(name, folder)}")


@click.command("check")
@click.argument("file")
def check_command(file: str) -> None:
    """Check the blocks of a user's file against the contract of every shipped block."""
    from hadnas.contract.check import check_op
    from hadnas.library import load_ops
    from hadnas.shell.tables.shelf import show_findings

    faulty = 0
    for op in load_ops(file):
        findings = check_op(op)
        faulty += bool(findings)
        show_findings(op.name, findings)
    sys.exit(2 if faulty else 0)
