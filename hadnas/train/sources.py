"""Where labelled images come from: scikit-learn's digits, a `.npz` file, an image folder, timm; checked while read."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from hadnas.errors import DataError
from hadnas.train.images import HeldImages, Images, StreamedImages
from hadnas.train.timm_data import ELSEWHERE, PREFIX, read_timm, squared

# An image folder whose decoded pixels (uint8) fit in this many bytes is held in memory; a larger one is streamed.
HELD_BYTES = 2 << 30

PARTS = ("train", "val", "test")

_GREY = {"1", "L", "LA"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


@dataclass(frozen=True)
class Source:
    """What a reader found: pixels 0..`scale`, and the splits the source has of its own."""

    scale: float
    class_names: list[str]
    train: Images
    val: Images | None = None
    test: Images | None = None


def read(source: str, size: int | None) -> Source:
    """Read "digits", a `.npz` file, an image folder or `torch/NAME:DIR`. Raises DataError."""
    path = Path(source).expanduser()
    named = source == "digits" or source.startswith(PREFIX)
    if source.startswith(ELSEWHERE):
        raise DataError(
            f"data source {source!r}: of timm's readers {PREFIX}NAME:DIR is allowed, as the others go to the network "
            "or through a library of their own; write the images into a folder with one sub-folder per class"
        )
    if not named and not path.exists():
        raise DataError(
            f"data source {source!r} not found in {Path.cwd()}: it is neither 'digits' nor an existing .npz file or "
            "image folder"
        )
    if not named and path.is_dir():
        found = _folder(path, size)
    elif source.startswith(PREFIX):
        names, train, test = read_timm(source, HELD_BYTES, size)
        found = Source(255.0, names, train, test=test)
    elif size is not None:
        raise DataError(f"{source}: `size` resizes the images of a folder; this source has images of one size already")
    else:
        found = _digits() if source == "digits" else _npz(path)
    _check_classes(found, source)
    return found


def name_of(source: str) -> str:
    """What a data set is called: `digits`, the name of its file or folder, `cifar10` for `torch/cifar10:DIR`."""
    return Path(source.partition(":")[0] if source.startswith(PREFIX) else source).expanduser().stem


def _check_classes(found: Source, where: str) -> None:
    """Every class has a training image, every label a class, and there are at least two classes."""
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
    return Source(16.0, [str(name) for name in digits.target_names], HeldImages(pixels, labels))


def _npz(path: Path) -> Source:
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            why = f" ({error})" if zipfile.is_zipfile(path) else ""  # of other files NumPy says that they are pickles
            raise DataError(f"{path}: not a readable .npz file{why}") from error
        if not isinstance(archive, NpzFile):
            raise DataError(f"{path}: holds one bare array; a .npz file with train_images and train_labels is needed")
        train = _npz_part(archive, "train", path)
        own = [part for part in ("val", "test") if {f"{part}_images", f"{part}_labels"} & set(archive.files)]
        held = {part: _npz_part(archive, part, path) for part in own}
        names = _npz_array(archive, "class_names", path) if "class_names" in archive.files else None
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
    return Source(255.0, [str(name) for name in names.tolist()], train, **held)


def _npz_array(archive: NpzFile, key: str, path: Path) -> np.ndarray:
    if key not in archive.files:
        raise DataError(f"{path}: no array {key!r} (found: {', '.join(archive.files) or 'none'})")
    try:
        return np.asarray(archive[key])
    except (ValueError, EOFError, zipfile.BadZipFile) as error:  # pickled objects, a cut or damaged file
        raise DataError(f"{path}: array {key!r} cannot be read ({error})") from error


def _npz_part(archive: NpzFile, part: str, path: Path) -> HeldImages:
    images = _npz_array(archive, f"{part}_images", path)
    labels = _npz_array(archive, f"{part}_labels", path)
    if images.dtype != np.uint8:
        raise DataError(f"{path}: {part}_images is {images.dtype}; uint8 is needed")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(f"{path}: {part}_images has shape {images.shape}; (N, H, W) or (N, H, W, C), none 0, is needed")
    if images.shape[1] in (1, 3, 4) and images.shape[3] > 4:
        raise DataError(f"{path}: {part}_images has shape {images.shape}, channels first; (N, H, W, C) is needed")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: {part}_labels is {labels.dtype}; integers are needed")
    if labels.shape != (len(images),):
        raise DataError(f"{path}: {part}_labels has shape {labels.shape}; ({len(images)},), one per image, is needed")
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return HeldImages(pixels, torch.from_numpy(labels.astype(np.int64)))


def _folder(root: Path, size: int | None) -> Source:
    """`root/<class>/*` or `root/train/<class>/*` with `val/` and `test/` beside it where there."""
    parted = (root / "train").is_dir()
    parts = sorted(path.name for path in _folders(root)) if parted else []
    if unknown := [part for part in parts if part not in PARTS]:
        raise DataError(f"{root}: beside train there is {unknown[0]!r}; allowed are {' and '.join(PARTS[1:])}")
    files = {part: _list(root / part) for part in PARTS if part in parts} or {"train": _list(root)}
    train = files["train"]
    for part, listed in files.items():
        if listed.classes != train.classes:
            raise DataError(f"{root}: classes of {part} {listed.classes} differ from those of train {train.classes}")
    decode = _decoder([Path(path) for listed in files.values() for path, _ in listed.samples], size)
    total = sum(len(listed.samples) for listed in files.values()) * int(np.prod(decode.shape))
    found = {part: _read_listed(listed, decode, held=total <= HELD_BYTES) for part, listed in files.items()}
    return Source(255.0, train.classes, found["train"], found.get("val"), found.get("test"))


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _list(folder: Path) -> ImageFolder:
    """Read the names of the files; a class without an image of its own, in whose folders are some, is none."""
    for name in _folders(folder):
        if (inner := _folders(name)) and not any(path.is_file() for path in name.iterdir()):
            raise DataError(
                f"{name}: holds no images but folders, such as {inner[0].name!r}; allowed is one folder per class with "
                f"its images, or {', '.join(PARTS)} of such folders"
            )
    try:
        return ImageFolder(folder)
    except (FileNotFoundError, OSError) as error:
        raise DataError(f"{folder}: not an image folder with one sub-folder per class ({error})") from error


def _read_listed(listed: ImageFolder, decode: "Decoder", held: bool) -> Images:
    labels = torch.tensor(listed.targets, dtype=torch.int64)
    files = [Path(path) for path, _ in listed.samples]
    if held:
        return HeldImages(torch.stack([decode(path) for path in files]), labels)
    return StreamedImages(files, labels, decode.shape, decode)


@dataclass(frozen=True)
class Decoder:
    """A file -> uint8 pixels (C, H, W): grey or colour for all; resized when `size` is given, checked otherwise."""

    mode: str
    shape: tuple[int, int, int]
    size: int | None

    def __call__(self, path: Path) -> Tensor:
        try:
            with Image.open(path) as file:
                image = file.convert(self.mode)
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{path}: image cannot be decoded ({error})") from error
        pixels: Tensor = pil_to_tensor(image if self.size is None else squared(image, self.size))
        return pixels


def _decoder(files: list[Path], size: int | None) -> Decoder:
    """Look at the head of every file: all must be 8-bit images and, without `size`, of one size."""
    grey, first = True, None
    for path in files:
        try:
            with Image.open(path) as image:
                mode, extent = image.mode, image.size
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{path}: not an image ({error})") from error
        if mode not in _GREY | _COLOUR:
            raise DataError(f"{path}: image mode {mode!r}; 8-bit grey or colour is needed")
        if first is None:
            first = path, extent
        elif size is None and extent != first[1]:
            raise DataError(
                f"{path}: {extent[0]}x{extent[1]} pixels, but {first[0]} has {first[1][0]}x{first[1][1]}; "
                "give `size` to resize them all"
            )
        grey = grey and mode in _GREY
    assert first is not None
    width, height = first[1] if size is None else (size, size)
    return Decoder("L" if grey else "RGB", (1 if grey else 3, height, width), size)
