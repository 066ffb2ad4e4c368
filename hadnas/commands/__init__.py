"""The commands of the shell, thin over the library; everything heavy is imported inside the one that needs it."""

import click

HOME = click.option("--home", envvar="HADNAS_HOME", metavar="DIR", help="Where studies live; runs/ by default.")
