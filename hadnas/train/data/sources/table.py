"""A table of image files: a row has a path, a label and, optionally, a split and a group."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hadnas.errors import DataError, cut
from hadnas.paths import as_path
from hadnas.targets import TargetKind
from hadnas.train.data.cells import Cells
from hadnas.train.data.files import read_files
from hadnas.train.data.images import Source, checked_names
from hadnas.train.data.reader import ordered_names, reader
from hadnas.train.data.sources.folder import EXTENSIONS
from hadnas.train.data.spec import READING, TABLES
from hadnas.train.data.split import SPLITS, check_groups, split_named
from hadnas.train.data.target import as_float32

_WHOLE = re.compile("0|-?[1-9][0-9]*")
_TRUTH = {"true": "1", "false": "0"}


def _is_table(source: str) -> bool:
    path = as_path(source)
    return path.name.lower().endswith(TABLES) and path.is_file()


@reader(
    f"a table of image files ({', '.join(TABLES)})",
    takes=_is_table,
    options=tuple(name for name in READING if name != "inputs"),
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
    table = Cells.read(as_path(source))
    named = {"path": [path_column], "label": label_columns, "value": value_columns, "split": [split_column]}
    table.check_named({**{f"--{role}-column": names for role, names in named.items()}, "--group": [group]})
    root = table.path.parent if images is None else as_path(images)
    if not root.is_dir():
        raise DataError(f"{root}: not a folder; --images is the folder in which the table's paths start")
    files, missing = _files(table, path_column or table.common("path"), root)
    kind, classes, labels = _targets(table, label_columns, value_columns)
    splits, notes = _splits(table, split_column)
    groups = None if group is None else table.texts(group)
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


def _files(table: Cells, column: str, root: Path) -> tuple[list[Path], dict[Path, str]]:
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
        whole = os.path.abspath(path)  # without `folder/..`
        if not Path(whole).is_relative_to(os.path.abspath(root)):
            raise DataError(
                f"{table.at(place)}: the column {column!r} is {cut(name)}, outside of {root}; name a folder that has "
                "all images as --images"
            )
        other = seen.setdefault(whole, place)
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
    table: Cells, labels: Sequence[str], values: Sequence[str]
) -> tuple[TargetKind, tuple[str, ...], np.ndarray]:
    """The kind of the targets, their names, and classes (N,) as int64, or labels or values (N, K) as float32."""
    if labels and values:
        raise DataError(f"{table.path}: --label-column and --value-column are both given; one is allowed")
    if twice := [name for name in labels or values if [*labels, *values].count(name) > 1]:
        raise DataError(f"{table.path}: the column {twice[0]!r} is given twice; each is one of the outputs")
    if not values and len(labels) < 2:
        names, classes = _classes(table, labels[0] if labels else table.common("label"))
        return "classes", names, classes
    columns = values or labels
    allowed = "numbers with a decimal point, such as 1.5" if values else "0 and 1, or true and false"
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


def _classes(table: Cells, column: str) -> tuple[tuple[str, ...], np.ndarray]:
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


def _splits(table: Cells, given: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The split of each row, and notes.

    A column that has only a common name, such as `fold`, is one of splits if any of its values is.
    """
    column = given or table.find("split")
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
