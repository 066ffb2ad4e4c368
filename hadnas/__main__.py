"""`python -m hadnas`."""

from hadnas.cli import main

main()
