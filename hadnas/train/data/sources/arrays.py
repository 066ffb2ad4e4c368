"""Several inputs in a `.npz` file: for an input NAME the arrays `train_NAME`, and those of val and test.

Integers (N, length) are tokens, uint8 (N, H, W) or (N, H, W, C) images, floats (N, K) vectors, and floats (N, H, W) or
(N, H, W, C) maps. Masks are bool (N, H, W), or 0 and 1 of any type in an input named `mask`. An array
`train_NAME_index` (N,), or `train_image_index` for `images`, gives the place in `train_NAME` of each example, as
several examples may share an image. The vocabulary of tokens is that of the array `vocab`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.lib.npyio import NpzFile

from hadnas.errors import DataError
from hadnas.limits import WIDTH
from hadnas.paths import as_path
from hadnas.train.data.archive import image_array, open_archive, read_array
from hadnas.train.data.columns import HeldInputs, InputColumn
from hadnas.train.data.images import Source
from hadnas.train.data.reader import reader
from hadnas.train.data.sources.npz import read_images, read_targets
from hadnas.train.data.split import SPLITS
from hadnas.train.data.target import CONSTANT

VOCABULARY = "vocab"

MASK = "mask"
"""The input that is a mask whatever its type; any of bool is one, too."""

LARGEST = float(np.finfo(np.float32).max)


def _is_npz(source: str) -> bool:
    path = as_path(source)
    return path.suffix.lower() == ".npz" and path.exists() and not path.is_dir()


@reader("an .npz file with train_images and train_labels", takes=_is_npz, options=("inputs",))
def read_npz(source: str, inputs: Sequence[str] = ()) -> Source:
    """Read every split of the file. Raises DataError for a malformed file."""
    path = as_path(source)
    with open_archive(path, "train_images and train_labels") as archive:
        return _read_inputs(archive, path, inputs) if inputs else read_images(archive, path)


def _read_inputs(archive: NpzFile, path: Path, names: Sequence[str]) -> Source:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path}: the input {twice} is named twice; each is named once")
    if len(names) == 1:
        raise DataError(
            f"{path}: the only input named is {names[0]}; allowed are two or more, or none for images alone"
        )
    arrays = ("labels", *names)
    splits = [s for s in SPLITS if s == "train" or any(f"{s}_{name}" in archive.files for name in arrays)]
    counts = {f"{split}_labels": _length(archive, f"{split}_labels", path) for split in splits}
    keys = {split: (f"{split}_labels", counts[f"{split}_labels"], f"{split}_{names[0]}") for split in splits}
    targets = read_targets(archive, keys, path)
    read = [_columns(archive, name, splits, counts, path) for name in names]
    _check_masks([columns["train"] for columns in read], path)
    parts = {}
    for split in splits:
        key = f"{split}_labels"
        labels = torch.from_numpy(targets.labels[split])
        own = [columns[split] for columns in read]
        parts[split] = HeldInputs(own, labels, [f"{key}[{place}]" for place in range(len(labels))])
    drawn = len(parts) < len(SPLITS)
    shared = [name for name in names if drawn and _index_key(archive, "train", name)]
    notes = tuple(
        f"values of {name} may be in two splits, as only those of {shared[0]} are kept apart; give splits of your own"
        for name in shared[1:]
    )
    return Source(
        255.0,
        targets.class_names,
        parts["train"],
        parts.get("val"),
        parts.get("test"),
        targets.notes + notes,
        target=targets.kind,
        groups=parts["train"].columns[names.index(shared[0])].places.numpy() if shared else None,
        grouped_by=f"value of {shared[0]}" if shared else "",
    )


def _length(archive: NpzFile, key: str, path: Path) -> int:
    """The rows of an array."""
    found = read_array(archive, key, path)
    if found.ndim == 0:
        raise DataError(f"{path}: {key} is one value; allowed is an array with a row for each example")
    return len(found)


def _index_key(archive: NpzFile, split: str, name: str) -> str | None:
    """The array with the place of each example's value; None if each example has its own."""
    keys = f"{split}_{name}_index", f"{split}_{name.removesuffix('s')}_index"
    return next((key for key in keys if key in archive.files), None)


def _columns(
    archive: NpzFile, name: str, splits: Sequence[str], counts: dict[str, int], path: Path
) -> dict[str, InputColumn]:
    """One input in every split: of one kind, shape and vocabulary."""
    values = {split: _values(archive, f"{split}_{name}", path, name == MASK) for split in splits}
    first, vocabulary = values["train"], 0
    for split, own in values.items():
        if own.shape[1:] != first.shape[1:] or own.dtype != first.dtype:
            found, needed = (f"{one.dtype} of shape {(*one.shape[1:],)}" for one in (own, first))
            raise DataError(f"{path}: {split}_{name} are {found}, train_{name} {needed}; one form is needed")
    if first.dtype == np.float64:
        _check_varied(first, f"{path}: train_{name}")
    if first.dtype == np.int64:
        known = VOCABULARY in archive.files
        vocabulary = _vocabulary(archive, path) if known else min(int(first.max()) + 1, WIDTH)
        for split, own in values.items():
            wrong = np.argwhere((own < 0) | (own >= vocabulary))
            if len(wrong):
                row, column = wrong[0].tolist()
                rule = f"the vocabulary of {VOCABULARY}" if known else f"the tokens of train_{name}, at most {WIDTH:,}"
                raise DataError(
                    f"{path}: {split}_{name}[{row}, {column}] is {own[row, column]}; allowed are 0 to "
                    f"{vocabulary - 1}, {rule}"
                )
    return {
        split: InputColumn(
            name,
            torch.from_numpy(own),
            _places(archive, split, name, len(own), counts, path),
            vocabulary,
            own.dtype == np.float32,
        )
        for split, own in values.items()
    }


def _vocabulary(archive: NpzFile, path: Path) -> int:
    """The number of tokens of the vocabulary."""
    found = read_array(archive, VOCABULARY, path)
    if found.ndim != 1 or not 1 <= len(found) <= WIDTH:
        raise DataError(f"{path}: {VOCABULARY} has shape {found.shape}; allowed is (N,), N from 1 to {WIDTH:,}")
    return len(found)


def _check_varied(values: np.ndarray, where: str) -> None:
    """Raise DataError for a number of vectors, or a channel of maps, whose values float32 cannot tell apart."""
    for place in range(values.shape[1]):
        own = values[:, place]
        low, high = own.min(), own.max()
        if low < high and own.std() < CONSTANT * max(abs(low), abs(high)):
            raise DataError(
                f"{where}[:, {place}] is from {low:.9g} to {high:.9g}, which float32 hardly tells apart; subtract one "
                "number in all splits, in float64"
            )


def _check_masks(columns: Sequence[InputColumn], path: Path) -> None:
    """Raise DataError for a mask of another size than every image, or without valid pixels."""
    images = [column for column in columns if column.values.ndim == 4 and not column.mask]
    for column in columns:
        if not column.mask:
            continue
        sizes = {tuple(image.values.shape[2:]): image.name for image in images}
        found = tuple(column.values.shape[2:])
        if found not in sizes:
            of = ", ".join(f"{height} x {width} of train_{name}" for (height, width), name in sizes.items())
            raise DataError(
                f"{path}: train_{column.name}[0] is {found[0]} x {found[1]}; allowed is the size of its image, "
                f"{of or 'of which no input is'}"
            )
        if not column.values[column.places].any():
            raise DataError(f"{path}: train_{column.name} has no valid pixel; allowed is a mask with some 1")


def _mask(found: np.ndarray, key: str, path: Path) -> np.ndarray:
    """A mask as float32 (M, 1, H, W)."""
    if found.ndim == 4 and found.shape[3] == 1:
        found = found[..., 0]
    if found.ndim != 3 or 0 in found.shape or found.dtype.kind not in "buif":
        raise DataError(
            f"{path}: {key} is {found.dtype} of shape {found.shape}; a mask is bool or numbers of shape (N, H, W)"
        )
    wrong = np.argwhere((found != 0) & (found != 1))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise DataError(
            f"{path}: {key}{list(place)} is {found[place]:g}; allowed are 0 at a hole and 1 at a valid pixel of a mask"
        )
    return found[:, None].astype(np.float32)


def _values(archive: NpzFile, key: str, path: Path, mask: bool) -> np.ndarray:
    """The values of an input.

    int64 tokens (M, length), uint8 images, float64 maps or float32 masks (M, C, H, W), vectors (M, K)
    """
    found = read_array(archive, key, path)
    if mask or found.dtype == bool:
        return _mask(found, key, path)
    if found.ndim == 2 and 0 in found.shape:
        raise DataError(f"{path}: {key} has shape {found.shape}; allowed is (N, K), none 0")
    if found.ndim == 2 and found.dtype.kind in "iu":
        return found.astype(np.int64)
    if found.ndim < 2 or (found.dtype.kind != "f" and (found.ndim == 2 or found.dtype != np.uint8)):
        raise DataError(
            f"{path}: {key} is {found.dtype} of shape {found.shape}; allowed are integers (N, length) for tokens, "
            "uint8 (N, H, W) or (N, H, W, C) for images, bool for masks, and floats for vectors (N, K) and maps"
        )
    if found.ndim != 2:
        found = image_array(archive, key, path).transpose(0, 3, 1, 2)
    if found.dtype.kind == "f":
        wrong = np.argwhere(~(np.abs(found) <= LARGEST))  # NaN is wrong, too
        if len(wrong):
            place = tuple(wrong[0].tolist())
            raise DataError(
                f"{path}: {key}[{place[0]}] has the value {found[place]:g}; allowed are finite numbers, up to "
                f"{LARGEST:.3g}, float32's largest"
            )
        found = found.astype(np.float64)
    return np.ascontiguousarray(found)


def _places(archive: NpzFile, split: str, name: str, total: int, counts: dict[str, int], path: Path) -> torch.Tensor:
    """The place of each example's value. Raises DataError unless there is one for each label."""
    key, labels = _index_key(archive, split, name), f"{split}_labels"
    places = np.arange(total) if key is None else read_array(archive, key, path)
    if places.ndim != 1:
        raise DataError(f"{path}: {key} has shape {places.shape}; allowed is (N,), one place for each label")
    if len(places) != counts[labels]:
        array, n = key or f"{split}_{name}", counts[labels]
        rule = f"{array}[{len(places)}] is missing" if len(places) < n else f"{labels}[{n}] is missing"
        raise DataError(f"{path}: {array} has {len(places)} rows, {labels} {n}: {rule}; one for each label is needed")
    if places.dtype.kind not in "iu":
        raise DataError(f"{path}: {key} is {places.dtype}; integers are needed, the places in {split}_{name}")
    wrong = np.flatnonzero((places < 0) | (places >= total))
    if len(wrong):
        rule = f"allowed are 0 to {total - 1}, the places in {split}_{name}"
        raise DataError(f"{path}: {key}[{wrong[0]}] is {places[wrong[0]]}; {rule}")
    return torch.from_numpy(places.astype(np.int64))
