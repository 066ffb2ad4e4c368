"""What the shell prints: tables on one console, which wraps nothing that goes into a file."""

from rich.console import Console

console = Console()
if not console.is_terminal:
    console = Console(width=160)  # a pipe has no width: do not cut figures
