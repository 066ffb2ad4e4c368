"""A table that fits the terminal: text wraps, long names fold, and columns that matter least are left out and named."""

import textwrap
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table

from hadnas.errors import printable
from hadnas.shell.tables import console

NAME_WIDTH = 20
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
        self.kept = list(range(len(columns)))
        self.rows: list[tuple[list[str], str | None]] = []

    def add(self, *cells: str, style: str | None = None) -> None:
        """Add a row; cells that are missing at its end are empty."""
        self.rows.append(([*map(printable, cells), *[""] * (len(self.columns) - len(cells))], style))

    def print(self) -> list[str]:
        """Print the table under its title, and return the heads of the columns that were left out."""
        drop_columns(self)
        if self.title:
            console.print(self.title, style="bold")
        with console.capture() as captured:
            console.print(self._table(self.kept))
        console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
        return [column.head for place, column in enumerate(self.columns) if place not in self.kept]

    @property
    def is_too_wide(self) -> bool:
        """Whether the columns that are kept do not fit the terminal."""
        return console.is_terminal and self._least_width(self.kept) > console.width

    def _cells(self, place: int) -> list[str]:
        """The head and the cells of a column, as they are printed."""
        column = self.columns[place]
        cells = [cells[place] for cells, _ in self.rows]
        if not console.is_terminal:
            return [column.head, *cells]
        head = "\n".join(column.head.rsplit(" ", 1)) if column.right else column.head
        return (
            [head, *("\n".join(textwrap.wrap(cell, NAME_WIDTH)) for cell in cells)] if column.name else [head, *cells]
        )

    def _least_width(self, kept: list[int]) -> int:
        """The width of the table with these columns, its text wrapped after every word."""
        cells = {place: self._cells(place) for place in kept}
        parts = {
            p: [part for c in cells[p] for part in (c.split() if self.columns[p].wraps else c.split("\n"))]
            for p in kept
        }
        return sum(max(map(cell_len, parts[place]), default=0) for place in kept) + 2 * (len(kept) - 1)

    def _table(self, kept: list[int]) -> Table:
        tight = console.is_terminal and self._least_width(kept) > console.width
        heads = any(column.head for column in self.columns)
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=heads)
        cells = [self._cells(place) for place in kept]
        for place, (head, *_) in zip(kept, cells, strict=True):
            column = self.columns[place]
            wrapped = column.wraps or tight
            table.add_column(head, justify="right" if column.right else "left", no_wrap=not wrapped, overflow="fold")
        for row, (_, style) in zip(zip(*(rest for _, *rest in cells), strict=True), self.rows, strict=True):
            table.add_row(*row, style=style)
        return table


def drop_columns(*grids: Grid) -> None:
    """Leave columns out of tables with equal columns, the same ones of each, until all fit the terminal."""
    columns, kept = grids[0].columns, grids[0].kept
    while any(grid.is_too_wide for grid in grids):
        place = max(kept, key=lambda place: columns[place].spare)
        if not columns[place].spare:
            break
        kept.remove(place)
        for grid in grids:
            grid.kept = kept


def print_left_out(heads: list[str]) -> None:
    """Say which columns were left out, if any."""
    if heads:
        names = ", ".join(dict.fromkeys(heads))
        console.print(f"left out at {console.width} columns: {names}; a wider terminal, or a pipe, has them")
