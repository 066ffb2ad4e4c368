"""The shell's tables, on one console: it fits a terminal, and does not wrap or cut what goes to a file or a pipe."""

from hadnas.shell.console import PlainConsole

PIPE = 100_000
"""The width of a file or pipe, in characters."""

console = PlainConsole()
if not console.is_terminal:
    console = PlainConsole(width=PIPE)
