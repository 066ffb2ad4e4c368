"""Images in a `.npz` file: `train_images` and `train_labels`, and those of `val` and `test` if there are any."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.lib.npyio import NpzFile

from hadnas.errors import DataError
from hadnas.train.data.images import HeldImages, Source, checked_names

LAYOUT = "layout"
"""The array by which a file says "NHWC", that channels are last, if the shape of its images does not."""


def read_npz(path: Path) -> Source:
    """Every split that the file has. Raises DataError for what is malformed."""
    if not path.is_file():  # a device may have no end
        raise DataError(f"{path}: neither a regular file nor a folder")
    try:
        with path.open("rb") as file:  # of a damaged one NumPy would leave its own open
            return _read(np.load(file, allow_pickle=False), path)
    except DataError:
        raise
    except Exception as error:  # of a damaged file NumPy raises errors of many types
        why = f" ({error})" if zipfile.is_zipfile(path) else ""  # of other files it says that they are pickles
        raise DataError(f"{path}: not a readable .npz file{why}") from error


def _read(archive: object, path: Path) -> Source:
    if not isinstance(archive, NpzFile):
        raise DataError(f"{path}: holds one bare array; a .npz file with train_images and train_labels is needed")
    if LAYOUT in archive.files and (layout := str(_array(archive, LAYOUT, path))) != "NHWC":
        raise DataError(f"{path}: {LAYOUT} is {layout!r}; 'NHWC' is allowed, with images of shape (N, H, W, C)")
    train = _part(archive, "train", path)
    own = [part for part in ("val", "test") if {f"{part}_images", f"{part}_labels"} & set(archive.files)]
    held = {part: _part(archive, part, path) for part in own}
    names = _array(archive, "class_names", path) if "class_names" in archive.files else None
    for part, images in held.items():
        if images.shape != train.shape:
            raise DataError(
                f"{path}: {part} images are {images.shape}, training images {train.shape} (channels, height, width)"
            )
    highest = int(train.labels.max())
    if names is None and not 0 <= highest < len(train.labels):
        raise DataError(f"{path}: train label {highest} is out of range; labels count the classes from 0")
    if names is None:
        names = np.arange(highest + 1)
    elif names.ndim != 1 or len(names) == 0:
        raise DataError(f"{path}: class_names has shape {names.shape}; one name per class is needed")
    return Source(255.0, checked_names(names.tolist(), path), train, held.get("val"), held.get("test"))


def _array(archive: NpzFile, key: str, path: Path) -> np.ndarray:
    if key not in archive.files:
        raise DataError(f"{path}: no array {key!r} (found: {', '.join(archive.files) or 'none'})")
    try:
        return np.asarray(archive[key])
    except Exception as error:  # pickled objects, a cut or damaged file, a header that claims more than there is
        raise DataError(f"{path}: array {key!r} cannot be read ({error})") from error


def _part(archive: NpzFile, part: str, path: Path) -> HeldImages:
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
            f"convert (N, C, H, W) by {part}_images.transpose(0, 2, 3, 1), or, if the channels are last already, say "
            f"so by {LAYOUT}='NHWC' in np.savez"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: {part}_labels is {labels.dtype}; integers are needed")
    if labels.shape != (len(images),):
        raise DataError(f"{path}: {part}_labels has shape {labels.shape}; ({len(images)},), one per image, is needed")
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    names = [f"{part}_images[{place}]" for place in range(len(images))]
    return HeldImages(pixels, torch.from_numpy(labels.astype(np.int64)), names)


def _channels_last(first: int, second: int, last: int) -> bool:
    """Whether the sides of an image can only be (H, W, C): H = W, which C is not, or C is smaller than both."""
    return (first == second != last and first > 1) or last < min(first, second) or first == second == last == 1
