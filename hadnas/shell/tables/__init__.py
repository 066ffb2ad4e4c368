"""What the shell prints: tables on one console, which wraps nothing that goes into a file."""

from hadnas.shell.console import PlainConsole

console = PlainConsole()
if not console.is_terminal:
    console = PlainConsole(width=160)  # a pipe has no width: do not cut figures
