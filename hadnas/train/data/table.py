"""A table of image files: a row has a path, a label and, optionally, a split and a group."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hadnas.errors import DataError, cut, unknown
from hadnas.paths import as_path
from hadnas.targets import TargetKind
from hadnas.train.data.files import read_files
from hadnas.train.data.folder import EXTENSIONS
from hadnas.train.data.images import Source, checked_names
from hadnas.train.data.reader import ordered_names, reader
from hadnas.train.data.spec import READING, TABLES
from hadnas.train.data.split import SPLITS, check_groups, split_named
from hadnas.train.data.target import as_float32

NAMES = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_id", "img"
    ),
    "label": ("label", "class", "target", "class_name", "category", "labels"),
    "split": ("split", "subset", "fold", "set", "partition"),
}  # fmt: skip
"""Column -> the names by which it is found, in lower case, in this order."""

_WHOLE = re.compile("0|-?[1-9][0-9]*")
_TRUTH = {"true": "1", "false": "0"}
_MISSING = ("", "nan", "NaN", "NA", "null")


def _is_table(source: str) -> bool:
    path = as_path(source)
    return path.name.lower().endswith(TABLES) and path.is_file()


@reader(
    f"a table of image files ({', '.join(TABLES)})",
    takes=_is_table,
    options=READING,
)
def read_image_table(
    source: str,
    size: int | None,
    skip_bad: bool,
    images: str | None,
    path_column: str | None,
    label_columns: Sequence[str],
    value_columns: Sequence[str],
    split_column: str | None,
    group: str | None,
) -> Source:
    """Read the images that the rows of a table name. See `DataSpec`. Raises DataError."""
    table = _Table.read(as_path(source))
    root = table.path.parent if images is None else as_path(images)
    if not root.is_dir():
        raise DataError(f"{root}: not a folder; --images is the folder in which the table's paths start")
    files, missing = _files(table, table.column("path", path_column), root)
    kind, classes, labels = _targets(table, label_columns, value_columns)
    splits, notes = _splits(table, split_column)
    groups = None if group is None else table.texts(table.column("group", group))
    if groups is not None:
        check_groups(groups, splits, table.rows, f"{table.path}: the column {group!r}")
    rows = {split: np.flatnonzero(splits == split) for split in SPLITS if (splits == split).any()}
    if "train" not in rows:
        raise DataError(f"{table.path}: no row is of the split train; found are {', '.join(rows)}")
    parts = {split: ([files[row] for row in some], torch.from_numpy(labels[some])) for split, some in rows.items()}
    for split, some in rows.items():
        if kind == "classes" and len(lacking := np.setdiff1d(np.arange(len(classes)), labels[some])):
            raise DataError(
                f"{table.path}: class {classes[lacking[0]]!r} has no image in {split}; every split needs one"
            )
    read, more = read_files(root, parts, size, skip_bad, missing)
    if groups is not None:  # of the training images that were read
        place = {path: row for row, path in enumerate(files)}
        groups = groups[[place[path] for path in read["train"].names if isinstance(path, Path)]]
    return Source(
        255.0, classes, read["train"], read.get("val"), read.get("test"), notes + more, target=kind, groups=groups
    )


@dataclass(frozen=True)
class _Table:
    """The cells of each column, and the number of each row in messages: that of a spreadsheet, or from 0 in parquet."""

    path: Path
    columns: Mapping[str, Sequence[object]]
    rows: Sequence[int]

    @classmethod
    def read(cls, path: Path) -> "_Table":
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

    def column(self, role: str, name: str | None) -> str:
        """The column of a role: that of this name, or one with a common name."""
        found = self.find(role) if name is None else name
        option = "--group" if role == "group" else f"--{role}-column"
        if found is None:
            more = ", several times for labels of 0 and 1, or numbers with --value-column" if role == "label" else ""
            raise DataError(
                f"{self.path}: no column for the {role}, such as {', '.join(NAMES[role][:3])}; found are "
                f"{', '.join(self.columns)}; name one with {option}{more}"
            )
        if found not in self.columns:
            raise DataError(f"{self.path}: {unknown(f'column for {option}', found, self.columns)}")
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
        file.seek(0)
        lines = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
        records = [(row, cells) for row, cells in enumerate(lines, 1) if len(cells) > 1 or "".join(cells).strip()]
    if not records:
        raise DataError(f"{path}: not a readable table (it is empty)")
    (_, names), *records = records
    for row, cells in records:
        if len(cells) > len(names):
            raise DataError(f"{path}, row {row}: not a readable table ({len(cells)} cells, but {len(names)} columns)")
        cells += [""] * (len(names) - len(cells))
    columns = list(zip(*(cells for _, cells in records), strict=True)) or [()] * len(names)
    named = [place for place, name in enumerate(names) if name.strip()]  # a column of row numbers has no name
    return [names[place] for place in named], [columns[place] for place in named], [row for row, _ in records]


def _parquet(path: Path) -> tuple[list[str], list[Sequence[object]], list[int]]:
    import pandas as pd  # late: the import takes half a second

    table = pd.read_parquet(path)
    columns = [cells.astype(object).where(cells.notna(), "").tolist() for _, cells in table.items()]
    return [*map(str, table.columns)], columns, [*range(len(table))]


def _files(table: _Table, column: str, root: Path) -> tuple[list[Path], dict[Path, str]]:
    """The file of each row, each once, and those that do not exist with the reason.

    A name without the ending of an image stands for the file with one of EXTENSIONS.
    """
    files: list[Path] = []
    missing: dict[Path, str] = {}
    seen: dict[str, int] = {}
    for place, name in enumerate(table.texts(column)):
        path = root / name
        try:
            if not name.lower().endswith(EXTENSIONS) and not path.is_file():
                path = next((found for end in EXTENSIONS if (found := root / f"{name}{end}").is_file()), path)
            found = path.exists()
        except OSError as error:  # a name of over 255 bytes, a folder that cannot be read
            raise DataError(
                f"{table.at(place)}: the column {column!r} is {cut(name)}, which cannot be a file's path "
                f"({error.strerror})"
            ) from None
        other = seen.setdefault(os.path.abspath(path), place)  # without `folder/..`
        if other != place:
            raise DataError(
                f"{table.at(place)}: names {name!r}, as does row {table.rows[other]}; one row for each image"
            )
        files.append(path)
        if not found:
            missing[path] = f"row {table.rows[place]}: there is no such file"
    if len(missing) == len(files):
        raise DataError(
            f"{table.at(0)}: there is no file {next(iter(missing))}, nor one of any other row; paths start at the "
            "table's folder, or at the folder given as --images"
        )
    return files, missing


def _targets(
    table: _Table, labels: Sequence[str], values: Sequence[str]
) -> tuple[TargetKind, tuple[str, ...], np.ndarray]:
    """The kind of the targets, their names, and classes (N,) as int64, or labels or values (N, K) as float32."""
    if labels and values:
        raise DataError(f"{table.path}: --label-column and --value-column are both given; one is allowed")
    if twice := [name for name in labels or values if [*labels, *values].count(name) > 1]:
        raise DataError(f"{table.path}: the column {twice[0]!r} is given twice; each is one of the outputs")
    if not values and len(labels) < 2:
        names, classes = _classes(table, table.column("label", labels[0] if labels else None))
        return "classes", names, classes
    columns = [table.column("value" if values else "label", name) for name in values or labels]
    allowed = "numbers" if values else "0 and 1, or true and false"
    found = np.empty((len(table.rows), len(columns)))
    for place, column in enumerate(columns):
        texts = table.texts(column)
        numbers = np.array([_number(_TRUTH.get(text.lower(), text)) for text in texts])
        wrong = ~np.isfinite(numbers) if values else ~np.isin(numbers, (0, 1))
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{table.at(row)}: the column {column!r} is {cut(texts[row])}; allowed are {allowed}")
        found[:, place] = numbers
    numbers = as_float32(
        found,
        lambda row, place: f"{table.at(row)}: the column {columns[place]!r}",
        lambda place: f"table[{columns[place]!r}]",
    )
    return "values" if values else "labels", checked_names(columns, table.path), numbers


def _classes(table: _Table, column: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names and labels that count them, int64 (N,).

    Whole numbers are in ascending order; other text, such as 01, is in that of timm's reader, equal only to itself.
    """
    texts = table.texts(column)
    numbers = np.array([_number(text) for text in texts])
    text = np.isnan(numbers)
    if text.any() and not text.all():
        one, other = int(text.argmax()), int((~text).argmax())
        raise DataError(
            f"{table.at(one)}: the column {column!r} is text, {texts[one]!r}, but the number {texts[other]} in row "
            f"{table.rows[other]}; all numbers or all text is needed"
        )
    fractions = ~text & (~np.isfinite(numbers) | (numbers != np.rint(numbers)))
    if fractions.any():
        place = int(fractions.argmax())
        raise DataError(
            f"{table.at(place)}: the column {column!r} is {texts[place]}; a class is text or a whole number, and "
            "numbers to predict are named with --value-column"
        )
    if not text.any() and all(text.endswith(".0") for text in texts):  # whole numbers in a floating type
        texts = np.array([text.removesuffix(".0") for text in texts], dtype=object)
    whole = all(map(_WHOLE.fullmatch, texts))
    names = tuple(sorted(set(texts), key=int)) if whole else ordered_names(set(texts), table.path)
    order = {name: label for label, name in enumerate(names)}
    return names, np.array([order[text] for text in texts], np.int64)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _splits(table: _Table, given: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The split of each row, and notes.

    A column that has only a common name, such as `fold`, is one of splits if any of its values is.
    """
    column = table.find("split") if given is None else table.column("split", given)
    if column is None:
        return np.full(len(table.rows), "train"), ()
    found = [split_named(text) for text in table.columns[column]]
    if None in found:
        place = found.index(None)
        value = cut(str(table.columns[column][place]))
        if given is not None or any(found):
            raise DataError(f"{table.at(place)}: the column {column!r} is {value}; allowed are {', '.join(SPLITS)}")
        return np.full(len(found), "train"), (
            f"the column {column!r} is not used: its value {value} is not one of {', '.join(SPLITS)}",
        )
    return np.array(found), ()
