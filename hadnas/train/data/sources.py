"""Reads and checks labelled images from scikit-learn's digits, a `.npz` file, an image folder or timm."""

from pathlib import Path

import numpy as np
import torch

from hadnas.errors import DataError
from hadnas.paths import as_path
from hadnas.train.data.folder import read_folder
from hadnas.train.data.images import HeldImages, Source
from hadnas.train.data.npz import read_npz
from hadnas.train.data.timm_data import PREFIX, REFUSED, read_timm

# An image folder with at most this many bytes of decoded pixels (uint8) is read into memory; a larger one is streamed.
HELD_BYTES = 2 << 30


def read_source(source: str, size: int | None) -> Source:
    """Read "digits", a `.npz` file, an image folder or `torch/NAME:DIR`.

    Raises DataError, and SpecError for an invalid path.
    """
    path, named = as_path(source), source == "digits" or source.startswith(PREFIX)
    if source.startswith(REFUSED):
        raise DataError(
            f"data source {source!r}: of timm's readers {PREFIX}NAME:DIR is allowed, since the others use the "
            "network or need another library; write the images into a folder with one sub-folder per class"
        )
    if not named and not path.exists():
        raise DataError(
            f"data source {source!r} not found in {Path.cwd()}: it is neither 'digits' nor an existing .npz file or "
            "image folder"
        )
    if not named and path.is_dir():
        found = read_folder(path, size, HELD_BYTES)
    elif source.startswith(PREFIX):
        found = read_timm(source, size, HELD_BYTES)
    elif size is not None:
        raise DataError(f"{source}: `size` resizes the images of a folder; this source has images of one size already")
    else:
        found = _digits() if source == "digits" else read_npz(path)
    _check_classes(found, source)
    return found


def name_of(source: str) -> str:
    """The name of a data set: `digits`, that of its file or folder, `cifar10` for `torch/cifar10:DIR`."""
    return Path(source.partition(":")[0] if source.startswith(PREFIX) else source).expanduser().stem


def _check_classes(found: Source, where: str) -> None:
    """Raise DataError unless every class has a training image, every label a class, and there are two classes."""
    names = found.class_names
    if len(names) < 2:
        raise DataError(f"{where}: only one class, {names[0]!r}; a classifier needs at least two")
    for part, images in (("train", found.train), ("val", found.val), ("test", found.test)):
        if images is not None and (bad := images.labels[(images.labels < 0) | (images.labels >= len(names))]).numel():
            raise DataError(f"{where}: {part} label {int(bad[0])} is out of range 0..{len(names) - 1}")
    counts = torch.bincount(found.train.labels, minlength=len(names))
    empty = int(counts.argmin())
    if counts[empty] == 0:
        raise DataError(f"{where}: class {names[empty]!r} (label {empty}) has no training image")


def _digits() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images.astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    return Source(16.0, tuple(str(name) for name in digits.target_names), HeldImages(pixels, labels))
