"""Images in a `.npz` file: `train_images` and `train_labels`, and optional ones of `val` and `test`.

Labels are integers (N,) for classes, 0 and 1 of shape (N, K) for K labels, floats (N,) or (N, K) for values.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.lib.npyio import NpzFile

from hadnas.errors import DataError
from hadnas.paths import as_path
from hadnas.targets import TargetKind
from hadnas.train.data.images import HeldImages, Source, checked_names
from hadnas.train.data.reader import reader

LAYOUT = "layout"
"""The array with the value "NHWC", which states that channels are last if the shape of images is ambiguous."""


def _is_npz(source: str) -> bool:
    path = as_path(source)
    return path.suffix.lower() == ".npz" and path.exists() and not path.is_dir()


@reader("an .npz file with train_images and train_labels", takes=_is_npz)
def read_npz(source: str) -> Source:
    """Read every split of the file. Raises DataError for a malformed file."""
    path = as_path(source)
    if not path.is_file():  # a device file may have no end
        raise DataError(f"{path}: a pipe or device; a regular file is needed")
    try:
        with path.open("rb") as file:  # NumPy does not close a damaged file that it opened
            return _read(np.load(file, allow_pickle=False), path)
    except DataError:
        raise
    except Exception as error:  # NumPy raises many types of errors for damaged files
        why = f" ({error})" if zipfile.is_zipfile(path) else ""  # NumPy calls any other file a pickle
        raise DataError(f"{path}: not a readable .npz file{why}") from error


def _read(archive: object, path: Path) -> Source:
    if not isinstance(archive, NpzFile):
        raise DataError(f"{path}: contains one array; a .npz file with train_images and train_labels is needed")
    if LAYOUT in archive.files and (layout := str(_array(archive, LAYOUT, path))) != "NHWC":
        raise DataError(f"{path}: {LAYOUT} is {layout!r}; 'NHWC' is allowed, with images of shape (N, H, W, C)")
    train, kind = _part(archive, "train", path, None)
    present = [part for part in ("val", "test") if {f"{part}_images", f"{part}_labels"} & set(archive.files)]
    others = {part: _part(archive, part, path, kind)[0] for part in present}
    names = _array(archive, "class_names", path) if "class_names" in archive.files else None
    for part, images in others.items():
        if images.shape != train.shape:
            raise DataError(
                f"{path}: {part} images are {images.shape}, training images {train.shape} (channels, height, width)"
            )
    count = train.labels.shape[1] if kind != "classes" else int(train.labels.max()) + 1
    if names is None and kind == "classes" and not 0 < count <= len(train.labels):
        raise DataError(f"{path}: train label {count - 1} is out of range; labels count the classes from 0")
    if names is None:
        names = np.arange(count)
    elif names.ndim != 1 or len(names) == 0 or (kind != "classes" and len(names) != count):
        raise DataError(f"{path}: class_names has shape {names.shape}; one name for each of the {kind} is needed")
    return Source(255.0, checked_names(names.tolist(), path), train, others.get("val"), others.get("test"), target=kind)


def _array(archive: NpzFile, key: str, path: Path) -> np.ndarray:
    if key not in archive.files:
        raise DataError(f"{path}: no array {key!r} (found: {', '.join(archive.files) or 'none'})")
    try:
        return np.asarray(archive[key])
    except Exception as error:  # pickled objects, a truncated or damaged file, a header that is larger than the data
        raise DataError(f"{path}: array {key!r} cannot be read ({error})") from error


def _kind(labels: np.ndarray) -> TargetKind:
    """Floats are values; integers in several columns are labels, in one dimension classes."""
    if np.issubdtype(labels.dtype, np.floating):
        return "values"
    return "labels" if labels.ndim == 2 and labels.shape[1] > 1 else "classes"


def _part(archive: NpzFile, part: str, path: Path, kind: TargetKind | None) -> tuple[HeldImages, TargetKind]:
    """The images of a split, with the kind of their targets: `kind`, or that of their type."""
    images = _array(archive, f"{part}_images", path)
    labels = _array(archive, f"{part}_labels", path)
    if images.dtype != np.uint8:
        raise DataError(f"{path}: {part}_images is {images.dtype}; uint8 is needed")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(f"{path}: {part}_images has shape {images.shape}; (N, H, W) or (N, H, W, C), none 0, is needed")
    if images.ndim == 3:
        images = images[..., None]
    elif not _channels_last(*images.shape[1:]) and LAYOUT not in archive.files:
        raise DataError(
            f"{path}: {part}_images has shape {images.shape}, which may be channels first; (N, H, W, C) is needed: "
            f"convert (N, C, H, W) by {part}_images.transpose(0, 2, 3, 1), or, if the channels are last already, "
            f"state it by {LAYOUT}='NHWC' in np.savez"
        )
    kind = kind or _kind(labels)
    if not np.issubdtype(labels.dtype, np.floating if kind == "values" else np.integer):
        needed = "floats, as in train_labels, are" if kind == "values" else "integers, or floats for values, are"
        raise DataError(f"{path}: {part}_labels is {labels.dtype}; {needed} needed")
    if kind == "values" and labels.ndim == 1:
        labels = labels[:, None]
    if labels.shape != ((len(images),) if kind == "classes" else (len(images), *labels.shape[1:2])):
        needed = f"({len(images)},), one per image, or, for labels of 0 and 1 or values, ({len(images)}, K), is needed"
        raise DataError(f"{path}: {part}_labels has shape {labels.shape}; {needed}")
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    names = [f"{part}_images[{place}]" for place in range(len(images))]
    return HeldImages(
        pixels, torch.from_numpy(labels.astype(np.int64 if kind == "classes" else np.float32)), names
    ), kind


def _channels_last(first: int, second: int, last: int) -> bool:
    """Whether the sides of an image can only be (H, W, C): H = W != C, or C is smaller than both."""
    return (first == second != last and first > 1) or last < min(first, second) or first == second == last == 1
