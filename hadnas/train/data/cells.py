"""The cells of a table, by column and row, from a text file or a parquet file."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hadnas.errors import DataError, cut, unknown

NAMES = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_id", "img"
    ),
    "label": ("label", "class", "target", "class_name", "category", "labels"),
    "split": ("split", "subset", "fold", "set", "partition"),
}  # fmt: skip
"""Column -> the names by which it is found, in lower case, in this order."""

_CELLS = 10**8
"""The most cells of a table: those of ten million images in ten columns."""

_MISSING = ("", "nan", "NaN", "NA", "null")


@dataclass(frozen=True)
class Cells:
    """The cells of each column, and the number of each row in messages: that of a spreadsheet, or from 0 in parquet."""

    path: Path
    columns: Mapping[str, Sequence[object]]
    rows: Sequence[int]

    @classmethod
    def read(cls, path: Path) -> "Cells":
        try:
            names, cells, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
        except UnicodeError as error:
            raise DataError(f"{path}: not a readable table ({error}); save it as UTF-8") from error
        except DataError:
            raise
        except Exception as error:  # pandas raises many types of errors for malformed files
            raise DataError(f"{path}: not a readable table ({error})") from error
        if not rows:
            raise DataError(f"{path}: the table has no rows")
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise DataError(f"{path}: two columns have the name {twice[0]!r}, of {', '.join(names)}")
        return cls(path, dict(zip(names, cells, strict=True)), rows)

    def at(self, place: int) -> str:
        """Where a row is, for messages."""
        return f"{self.path}, row {self.rows[place]}"

    def find(self, role: str) -> str | None:
        """The column with the first of the common names of a role, if there is one."""
        lower = {name.strip().lower(): name for name in reversed([*self.columns])}
        return next((lower[name] for name in NAMES[role] if name in lower), None)

    def check_named(self, named: Mapping[str, Sequence[str | None]]) -> None:
        """Raise DataError with a line for each column that the table lacks; `named` are columns by option."""
        wrong = [
            f"{self.path}: {unknown(f'column for {option}', name, self.columns)}"
            for option, names in named.items()
            for name in names
            if name is not None and name not in self.columns
        ]
        if wrong:
            raise DataError("\n".join(wrong))

    def common(self, role: str) -> str:
        """The column that `find` gives. Raises DataError if there is none."""
        found = self.find(role)
        if found is None:
            more = ", several times for labels of 0 and 1, or numbers with --value-column" if role == "label" else ""
            raise DataError(
                f"{self.path}: no column for the {role}, such as {', '.join(NAMES[role][:3])}; found are "
                f"{', '.join(self.columns)}; name one with --{role}-column{more}"
            )
        return found

    def texts(self, column: str) -> np.ndarray:
        """The cells of a column as stripped text. Raises DataError for an empty one."""
        cells = self.columns[column]
        for place, cell in enumerate(cells):
            if isinstance(cell, (bytes, dict, list, np.ndarray)):
                raise DataError(
                    f"{self.at(place)}: the column {column!r} is of type {type(cell).__name__}; a cell is one text or "
                    "number"
                )
        texts = np.array([str(cell).strip() for cell in cells], dtype=object)
        empty = np.isin(texts, _MISSING)
        if empty.any():
            place = int(empty.argmax())
            also = f", in {empty.sum() - 1:,} more rows, too" if empty.sum() > 1 else ""
            raise DataError(
                f"{self.at(place)}: the column {column!r} is {cut(texts[place])}{also}; no cell may be empty"
            )
        return texts


def _text(path: Path) -> tuple[list[str], list[Sequence[object]], list[int]]:
    """Names and cells of the columns, and the number of each row, without blank rows; short rows end in empty cells."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = next((line for line in file if line.strip()), "")
        if "\0" in first:
            raise DataError(f"{path}: not a readable table (it has zero bytes, as UTF-16 has); save it as UTF-8")
        file.seek(0)
        lines = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
        records = [(row, cells) for row, cells in enumerate(lines, 1) if len(cells) > 1 or "".join(cells).strip()]
    if not records:
        raise DataError(f"{path}: not a readable table (it is empty)")
    (_, names), *records = records
    _check_cells(path, len(names), len(records))
    for row, cells in records:
        if len(cells) > len(names):
            raise DataError(f"{path}, row {row}: not a readable table ({len(cells)} cells, but {len(names)} columns)")
        cells += [""] * (len(names) - len(cells))
    columns = list(zip(*(cells for _, cells in records), strict=True)) or [()] * len(names)
    named = [place for place, name in enumerate(names) if name.strip()]  # a column of row numbers has no name
    return [names[place] for place in named], [columns[place] for place in named], [row for row, _ in records]


def _parquet(path: Path) -> tuple[list[str], list[Sequence[object]], list[int]]:
    import pandas as pd  # late: the import takes half a second
    from pyarrow.parquet import read_metadata  # type: ignore[import-untyped]

    found = read_metadata(path)
    _check_cells(path, found.num_columns, found.num_rows)
    table = pd.read_parquet(path)
    columns = [cells.astype(object).where(cells.notna(), "").tolist() for _, cells in table.items()]
    return [*map(str, table.columns)], columns, [*range(len(table))]


def _check_cells(path: Path, columns: int, rows: int) -> None:
    """Raise DataError for a table that takes more memory than any list of images; its file may be small."""
    if columns * rows > _CELLS:
        raise DataError(f"{path}: {columns:,} columns of {rows:,} rows; a table has at most {_CELLS:,} cells")
