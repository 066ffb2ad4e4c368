"""A `.npz` file: its arrays, read without running code that is in it."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from hadnas.errors import LISTED, DataError

LAYOUT = "layout"
"""The array with the value "NHWC", which states that channels are last if the shape of images is ambiguous."""

_LARGE, _RATIO = 2**30, 200
"""An array above so many bytes must not grow by more than this when it is unpacked; a bomb grows a thousand times."""


@contextmanager
def open_archive(path: Path, needed: str) -> Iterator[NpzFile]:
    """An open file, which has the arrays `needed`, in words. Raises DataError if NumPy cannot read it."""
    if not path.is_file():  # a device file may have no end
        found = "a folder, pipe or device; a regular file is needed" if path.exists() else f"not found in {Path.cwd()}"
        raise DataError(f"{path}: {found}")
    try:
        with path.open("rb") as file:  # NumPy does not close a damaged file that it opened
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise DataError(f"{path}: contains one array; a .npz file with {needed} is needed")
            yield archive
    except DataError:
        raise
    except Exception as error:  # NumPy raises many types of errors for damaged files
        why = f" ({error})" if zipfile.is_zipfile(path) else ""  # NumPy calls any other file a pickle
        raise DataError(f"{path}: not a readable .npz file{why}") from error


def read_array(archive: NpzFile, key: str, path: Path) -> np.ndarray:
    """An array of the file. Raises DataError if there is none, or it cannot be read."""
    if key not in archive.files:
        some = ", ".join([*archive.files[:LISTED], "..."][: len(archive.files)]) or "none"
        raise DataError(f"{path}: no array {key!r} (found: {some})")
    assert archive.zip is not None  # it is open
    whole, packed = next(
        (i.file_size, i.compress_size) for i in archive.zip.infolist() if i.filename in (key, f"{key}.npy")
    )
    if whole > max(_LARGE, _RATIO * packed):
        raise DataError(
            f"{path}: array {key!r} grows from {packed:,} bytes to {whole:,}; save it with "
            "np.savez, which packs nothing"
        )
    try:
        return np.asarray(archive[key])
    except Exception as error:  # pickled objects, a truncated or damaged file, a header that is larger than the data
        raise DataError(
            f"{path}: array {key!r} cannot be read ({error}); if it has Python objects, save text or numbers: "
            f"{key}.astype(str), or np.stack({key}) for arrays of one shape"
        ) from error


def image_array(archive: NpzFile, key: str, path: Path) -> np.ndarray:
    """Images (N, H, W, C) as they are in the file."""
    images = read_array(archive, key, path)
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(f"{path}: {key} has shape {images.shape}; (N, H, W) or (N, H, W, C), none 0, is needed")
    if images.ndim == 3:
        return images[..., None]
    if not _channels_last(*images.shape[1:]) and LAYOUT not in archive.files:
        raise DataError(
            f"{path}: {key} has shape {images.shape}, which may be channels first; (N, H, W, C) is needed: "
            f"convert (N, C, H, W) by {key}.transpose(0, 2, 3, 1), or, if the channels are last already, "
            f"state it by {LAYOUT}='NHWC' in np.savez"
        )
    return images


def _channels_last(first: int, second: int, last: int) -> bool:
    """Whether the sides of an image can only be (H, W, C): H = W != C, or C is smaller than both."""
    return (first == second != last and first > 1) or last < min(first, second) or first == second == last == 1
