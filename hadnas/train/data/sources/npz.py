"""Images in a `.npz` file: `train_images` and `train_labels` or `x_train` and `y_train`, and those of val and test.

Labels are integers or text (N,) or (N, 1) for classes, 0 and 1 of shape (N, K) for K labels, floats (N,) or (N, K) for
values.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.npyio import NpzFile

from hadnas.errors import DataError, cut
from hadnas.targets import TargetKind
from hadnas.train.data.archive import LAYOUT, image_array, read_array
from hadnas.train.data.images import HeldImages, Source, checked_names
from hadnas.train.data.reader import ordered_names
from hadnas.train.data.split import SPLITS
from hadnas.train.data.target import as_float32

_CHUNK = 1024  # images converted at once: a whole set as float64 would take eight times its memory


def read_images(archive: NpzFile, path: Path) -> Source:
    """The images and labels of every split of an open file. Raises DataError for malformed ones."""
    if LAYOUT in archive.files and (layout := str(read_array(archive, LAYOUT, path))) != "NHWC":
        raise DataError(f"{path}: {LAYOUT} is {layout!r}; 'NHWC' is allowed, with images of shape (N, H, W, C)")
    keys = {split: pair for split in SPLITS if (pair := _keys(archive.files, split, path))}
    images = {key: image_array(archive, key, path) for key, _ in keys.values()}
    targets = read_targets(archive, {split: (of, len(images[key]), key) for split, (key, of) in keys.items()}, path)
    shapes = {key: (array.shape[3], *array.shape[1:3]) for key, array in images.items()}
    first = next(iter(shapes))
    for key, shape in shapes.items():
        if shape != shapes[first]:
            raise DataError(f"{path}: {key} are {shape}, the training images {shapes[first]} (channels, height, width)")
    pixels, notes = _bytes(images, path)
    parts = {
        split: HeldImages(
            torch.from_numpy(np.ascontiguousarray(pixels[key].transpose(0, 3, 1, 2))),
            torch.from_numpy(targets.labels[split]),
            [f"{key}[{place}]" for place in range(len(pixels[key]))],
        )
        for split, (key, _) in keys.items()
    }
    return Source(
        255.0,
        targets.class_names,
        parts["train"],
        parts.get("val"),
        parts.get("test"),
        notes + targets.notes,
        target=targets.kind,
    )


@dataclass(frozen=True)
class Targets:
    """The targets of every split by its name: int64 (N,) or float32 (N, K)."""

    kind: TargetKind
    class_names: tuple[str, ...]
    labels: dict[str, np.ndarray]
    notes: tuple[str, ...]


def read_targets(archive: NpzFile, keys: Mapping[str, tuple[str, int, str]], path: Path) -> Targets:
    """The targets of every split. Raises DataError for malformed ones.

    keys: split -> the array of its targets, their number, and what they are of
    """
    labels = {key: _labels(archive, key, n, of, path) for key, n, of in keys.values()}
    kinds = {key: _kind(array) for key, array in labels.items()}
    train = keys["train"][0]
    kind = kinds[train]
    if other := next((key for key in kinds if kinds[key] != kind), None):
        raise DataError(f"{path}: {other} are {kinds[other]}, the training images have {kind}; one kind is needed")
    names = read_array(archive, "class_names", path) if "class_names" in archive.files else None
    count = labels[train].shape[1] if kind != "classes" else None
    if names is not None and (names.ndim != 1 or len(names) == 0 or len(names) != (count or len(names))):
        raise DataError(f"{path}: class_names has shape {names.shape}; one name for each of the {kind} is needed")
    if names is not None:
        _check_class_names(names.tolist(), path)
    notes: tuple[str, ...] = ()
    if count is None:
        classes, targets = _classes(labels, names, path)
    else:
        classes = checked_names((np.arange(count) if names is None else names).tolist(), path)
        targets = {key: _float32(key, array, path) for key, array in labels.items()}
        if kind == "values" and all((array == np.rint(array)).all() for array in labels.values()):
            notes = (f"{train} are whole numbers of a floating type, read as values; for classes: {train}.astype(int)",)
    found = {split: targets[key] for split, (key, _, _) in keys.items()}
    if "val" in found and kind == "classes":
        lacking = np.setdiff1d(found["train"], found["val"])
        notes = tuple(f"class {classes[label]!r} has no validation image" for label in lacking[:1])
    return Targets(kind, classes, found, notes)


def _check_class_names(names: list[object], path: Path) -> None:
    seen: dict[str, int] = {}
    for place, name in enumerate(checked_names(names, path)):
        if not name.strip():
            raise DataError(f"{path}: class_names[{place}] is {name!r}; a name has a visible character")
        if seen.setdefault(name, place) != place:
            raise DataError(
                f"{path}: class_names[{place}] is {name!r}, as is class_names[{seen[name]}]; each is unique"
            )


def _float32(key: str, labels: np.ndarray, path: Path) -> np.ndarray:
    several = labels.shape[1] > 1
    return as_float32(
        labels,
        lambda row, column: f"{path}: {key}[{f'{row}, {column}' if several else row}]",
        lambda column: f"{key}[:, {column}]" if several else key,
    )


def _keys(found: Iterable[str], split: str, path: Path) -> tuple[str, str] | None:
    """The names of the arrays of a split; None if the file has none of them, and the split is not the training one."""
    pairs = [(f"{split}_images", f"{split}_labels")]
    pairs += [(f"{x}_{name}", f"{y}_{name}") for name in SPLITS[split] for x, y in (("x", "y"), ("X", "y"), ("X", "Y"))]
    there = list(dict.fromkeys(image for image, _ in pairs if image in found))
    if len(there) > 1:
        raise DataError(f"{path}: both {there[0]} and {there[1]} are {split} images; one of them is needed")
    chosen = [pair for pair in pairs if set(pair) & set(found)] or (pairs if split == "train" else [])
    return max(chosen, key=lambda pair: len(set(pair) & set(found)), default=None)


def _bytes(images: dict[str, np.ndarray], path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The images of all splits as uint8, and notes.

    Whole numbers 0..255 of any type are taken as they are. Numbers 0..1 of a floating type are multiplied by 255, in
    all splits or in none, and rounded to the 8 bits of an image file.
    """
    if all(array.dtype == np.uint8 for array in images.values()):
        return images, ()
    for key, array in images.items():
        if array.dtype.kind not in "buif":
            raise DataError(f"{path}: {key} is {array.dtype}; numbers are needed: {key}.astype('uint8')")
        if array.dtype.kind == "f" and not np.isfinite([float(array.min()), float(array.max())]).all():
            place = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
            raise DataError(
                f"{path}: {key}[{place[0]}] has the value {array[place]:g}; allowed are finite numbers: "
                f"np.nan_to_num({key}, posinf=1, neginf=0)"
            )
    floats = all(array.dtype.kind in "bf" for array in images.values())
    scale = 255 if floats and all(float(array.max()) <= 1 for array in images.values()) else 1
    found, furthest = {}, 0.0
    for key, array in images.items():
        whole = np.empty(array.shape, np.uint8)
        for start in range(0, len(array), _CHUNK):
            values = array[start : start + _CHUNK].astype(np.float64) * scale
            rounded = np.rint(values)
            away = np.abs(values - rounded)
            wrong = ~((rounded >= 0) & (rounded <= 255) & ((scale == 255) | (away == 0)))  # NaN is wrong, too
            if wrong.any():
                place = tuple(int(axis) for axis in np.argwhere(wrong)[0])
                large = next((other for other, some in images.items() if some.max() > 1), key)
                if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
                    raise DataError(
                        f"{path}: {key} are numbers up to {array.max():g}, {large} up to {images[large].max():g}; one "
                        f"scale is needed in all splits: {key} = np.rint(255 * {key}).astype('uint8')"
                    )
                value = array[(start + place[0], *place[1:])]
                raise DataError(
                    f"{path}: {key}[{start + place[0]}] has the value {value:g}, of {array.min():g} to "
                    f"{array.max():g}; allowed are whole numbers 0..255, or numbers 0..1 of a floating type: "
                    f"low, high = {key}.min(), {key}.max(); {key} = np.rint(255 * ({key} - low) / (high - low))"
                    ".astype('uint8'), with low and high of the training images for every split"
                )
            furthest = max(furthest, float(away.max()))
            whole[start : start + _CHUNK] = rounded
        found[key] = whole
    if furthest <= 1e-3:  # 8-bit values divided by 255 in float32 or float64, not in float16
        return found, ()
    return found, (f"pixels 0..1 are rounded to 8 bits, by up to {furthest / 255:.4f}",)


def _labels(archive: NpzFile, key: str, n: int, images: str, path: Path) -> np.ndarray:
    """Classes (N,) as integers or text, labels (N, K) as integers, or values (N, K) as floats."""
    labels = read_array(archive, key, path)
    if labels.dtype.kind not in "biufSU":
        raise DataError(
            f"{path}: {key} is {labels.dtype}; integers or text for classes, floats for values: {key}.astype(str)"
        )
    if labels.dtype.kind == "f":
        labels = labels[:, None] if labels.ndim == 1 else labels
    elif labels.shape == (n, 1):
        labels = labels[:, 0]
    if labels.dtype == np.uint64 and (large := np.argwhere(labels > np.iinfo(np.int64).max)).size:
        place = tuple(large[0].tolist())
        raise DataError(
            f"{path}: {key}[{place[0]}] is {labels[place]}; allowed are whole numbers below 2**63, or text: "
            f"{key}.astype(str)"
        )
    if (
        labels.ndim not in (1, 2)
        or 0 in labels.shape
        or len(labels) != n
        or (labels.ndim == 2 and labels.dtype.kind in "SU")
    ):
        needed = (
            f"({n},), one per image of {images}, or, for labels of 0 and 1 or values, ({n}, K) with K > 0, is needed"
        )
        raise DataError(f"{path}: {key} has shape {labels.shape}; {needed}")
    if labels.ndim == 2 and labels.shape[1] > 1 and np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all():
        raise DataError(f"{path}: {key} has a single 1 in every row; give classes as numbers, by {key}.argmax(1)")
    return labels.astype(np.int64) if labels.dtype.kind in "biu" else labels


def _kind(labels: np.ndarray) -> TargetKind:
    """Floats are values; integers in several columns are labels, in one dimension classes."""
    return "values" if labels.dtype.kind == "f" else "labels" if labels.ndim == 2 else "classes"


def _classes(
    labels: dict[str, np.ndarray], names: np.ndarray | None, path: Path
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Class names, and labels that count them from 0, int64 (N,).

    With `names` integers count these. Without, the classes are the labels of all splits: integers in ascending order,
    text in the order of timm's reader.
    """
    given = None if names is None else checked_names(names.tolist(), path)
    texts = [key for key, array in labels.items() if array.dtype.kind in "SU"]
    if 0 < len(texts) < len(labels):
        raise DataError(f"{path}: {texts[0]} is text, the labels of another split are integers; one type is needed")
    if given is not None and not texts:
        return given, labels
    found, places = np.unique(np.concatenate([*labels.values()]), return_inverse=True)
    known = checked_names(found.tolist(), path)
    classes = given or (ordered_names(known, path) if texts else known)
    if unknown := [name for name in known if name not in classes]:
        raise DataError(f"{path}: the label {unknown[0]!r} is not in class_names {cut(list(classes))}")
    ranks = np.array([classes.index(name) for name in known], np.int64)[places]
    ends = np.cumsum([len(array) for array in labels.values()])[:-1]
    return classes, dict(zip(labels, np.split(ranks, ends), strict=True))
