"""The shell's console, which prints text literally: names and reasons come from users."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.text import Text

from hadnas.errors import printable


class PlainConsole(Console):
    """A console that prints `[/x]`, `:x:` and control codes literally."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Say in a terminal that libraries are loaded, which takes seconds; in a pipe, say nothing."""
    console = PlainConsole(stderr=True)
    with console.status(f"loading {what}") if console.is_terminal else nullcontext():
        yield
