"""What the shell prints on: text as it is, as names and reasons may be anybody's."""

from typing import Any

from rich.console import Console
from rich.text import Text

from hadnas.errors import printable


class PlainConsole(Console):
    """A console to which text is text: `[/x]`, `:x:` and control codes have no meaning in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)
