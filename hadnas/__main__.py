"""`python -m hadnas`."""

from hadnas.cli import run

run()
