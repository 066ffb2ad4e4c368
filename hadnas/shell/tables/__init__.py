"""The shell's tables, on one console that does not wrap text written to a file."""

from hadnas.shell.console import PlainConsole

console = PlainConsole()
if not console.is_terminal:
    console = PlainConsole(width=160)  # a pipe has no width: do not cut figures
