"""A table that fits the terminal: text wraps, long names fold, and columns that matter least are left out and named."""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table

from hadnas.errors import printable
from hadnas.shell.tables import PIPE, console

NAME_WIDTH = 24
"""The most characters of a name in one line of a terminal; the rest folds into further lines."""


@dataclass(frozen=True)
class Column:
    """A column: its head, and how it behaves where the table is too wide.

    right  numbers, to the right
    name   folds where it is longer than NAME_WIDTH
    wraps  text, wrapped between words
    spare  columns with a larger number are left out first; 0: never left out
    """

    head: str = ""
    right: bool = False
    name: bool = False
    wraps: bool = False
    spare: int = 0


class Grid:
    """Rows under columns, printed once. A pipe gets every column, and every row in one line."""

    def __init__(self, *columns: Column, title: str = "") -> None:
        self.columns, self.title = columns, title
        self.rows: list[tuple[tuple[str, ...], str | None]] = []

    def add(self, *cells: str, style: str | None = None) -> None:
        """Add a row; cells that are missing at its end are empty."""
        whole = (*map(printable, cells), *[""] * (len(self.columns) - len(cells)))
        self.rows.append((whole, style))

    def print(self) -> list[str]:
        """Print the table under its title, and return the heads of the columns that were left out."""
        out: list[int] = []
        while console.is_terminal and self._least_width(out) > console.width:
            spare = {place: column.spare for place, column in enumerate(self.columns) if place not in out}
            place = max(spare, key=lambda place: spare[place])
            if not spare[place]:
                break
            out.append(place)
        if self.title:
            console.print(self.title, style="bold")
        with console.capture() as captured:
            console.print(self._table(out))
        console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
        return [self.columns[place].head for place in sorted(out)]

    def _least_width(self, out: list[int]) -> int:
        """The width of the table without the columns at these places, its text wrapped after every word."""
        return console.measure(self._table(out), options=console.options.update(max_width=PIPE)).minimum

    def _table(self, out: list[int]) -> Table:
        """The table without the columns at these places."""
        heads = any(column.head for column in self.columns)
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=heads)
        kept = [place for place in range(len(self.columns)) if place not in out]
        for place in kept:
            column = self.columns[place]
            head = column.head
            if column.right and console.is_terminal:
                head = "\n".join(head.rsplit(" ", 1))
            longest = max(map(cell_len, (*head.split("\n"), *(cells[place] for cells, _ in self.rows))))
            widest = NAME_WIDTH if column.name and console.is_terminal else longest
            table.add_column(
                head,
                justify="right" if column.right else "left",
                no_wrap=not (column.name or column.wraps),
                overflow="fold",
                min_width=None if column.wraps else min(longest, widest),
                max_width=widest,
            )
        for cells, style in self.rows:
            table.add_row(*(cells[place] for place in kept), style=style)
        return table


def print_left_out(heads: list[str]) -> None:
    """Say which columns were left out, if any."""
    if heads:
        names = ", ".join(dict.fromkeys(heads))
        console.print(f"left out at {console.width} columns: {names}; a wider terminal, or a pipe, has them")
