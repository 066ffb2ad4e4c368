"""`python -m hadnas`."""

from hadnas.shell.cli import run

run()
