"""The commands of the shell, thin over the library; everything heavy is imported inside the one that needs it."""

import click

HOME = click.option("--home", envvar="HADNAS_HOME", metavar="DIR", help="Where studies live; runs/ by default.")


def _use_blocks(context: click.Context, option: click.Parameter, file: str | None) -> None:
    """Run the file: the one way in which a command that reads a home runs any, as the person who typed it named it."""
    if file is not None:
        from hadnas.library import use_blocks

        use_blocks(file)


BLOCKS = click.option(
    "--blocks",
    metavar="FILE",
    expose_value=False,
    callback=_use_blocks,
    help="The file of yours that defines blocks used here, such as mine.py; it is run.",
)
