"""What the shell prints: tables on one console, which wraps nothing that goes into a file."""

from hadnas.shell.console import PlainConsole

console = PlainConsole()
if not console.is_terminal:
    console = PlainConsole(width=160)  # a pipe has no width: do not cut figures


def short(number: float) -> str:
    """1234567 as 1.23M."""
    for scale, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g}{suffix}"
    return f"{number:.0f}"
