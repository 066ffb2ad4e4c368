"""Commands as a person types them."""

from click.testing import CliRunner, Result

from hadnas.shell.cli import main


def hadnas(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])
