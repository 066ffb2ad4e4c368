"""Labelled images, in memory as one tensor or streamed from files, and a split, which normalises them.

Both kinds give the same pixels in the same order, so a training on either gives the same weights.
"""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hadnas.errors import DataError
from hadnas.targets import TargetKind

if TYPE_CHECKING:
    from hashlib import _Hash

# A data set of at most this many bytes of decoded pixels (uint8) is read into memory; a larger folder is streamed.
HELD_BYTES = 2 << 30
# A split with at most this many bytes of float32 pixels is normalised once, on the device; a larger one is stored there
# as uint8, a quarter of the size, and normalised batch by batch, with bit-equal results.
NORMALISED_BYTES = 1 << 30
# Streamed training images for mean and standard deviation; of images in memory all are used.
MOMENT_IMAGES = 4096
# Processes that decode; none for a few batches, which take less time than starting a process.
WORKERS, BATCHES_PER_WORKER = min(8, (os.cpu_count() or 1) // 2), 16

Batches = Iterator[tuple[Tensor, Tensor]]


class Images(Protocol):
    """uint8 images of one shape (C, H, W) with their targets, on the CPU."""

    labels: Tensor
    """int64 (N,) for classes; float32 (N, K) for labels, of which each is 0 or 1, and for values."""
    shape: tuple[int, int, int]
    names: Sequence[object]
    """The name of each image in messages: its file, or its place in an array."""

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        """One image with its target."""

    def content(self, place: int) -> bytes:
        """The bytes of an image's pixels or of its file, equal for two copies of an image."""

    def subset(self, index: np.ndarray) -> "Images":
        """The images at these places, in this order."""

    def update(self, digest: "_Hash") -> np.ndarray:
        """Feed pixels and labels to a hash; returns a hash of each image, int64 (N,), equal for equal content."""

    def moments(self, scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, of pixels divided by `scale`."""

    def batches(self, size: int, device: torch.device, order: Tensor | None) -> Batches:
        """Batches of at most `size` on the device, in this order; in the stored order if `order` is None."""


class HeldImages:
    """Images in memory: (N, C, H, W)."""

    def __init__(self, pixels: Tensor, labels: Tensor, names: Sequence[object] | None = None) -> None:
        self.pixels, self.labels = pixels, labels
        self.names: Sequence[object] = range(len(labels)) if names is None else names
        self.shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.pixels[place], self.labels[place]

    def subset(self, index: np.ndarray) -> "HeldImages":
        places, names = torch.from_numpy(index), [self.names[place] for place in index.tolist()]
        return HeldImages(self.pixels[places], self.labels[places], names)

    def content(self, place: int) -> bytes:
        return self.pixels[place].numpy().tobytes()

    def update(self, digest: "_Hash") -> np.ndarray:
        digest.update(self.pixels.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return np.array([hash(image.tobytes()) for image in self.pixels.numpy()], np.int64)

    def moments(self, scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return _moments(_histogram(self.pixels), scale)

    def batches(self, size: int, device: torch.device, order: Tensor | None) -> Batches:
        pixels, labels = self.pixels.to(device), self.labels.to(device)
        if order is None:
            yield from zip(torch.split(pixels, size), torch.split(labels, size), strict=True)
        else:
            for index in torch.split(order.to(device), size):
                yield pixels[index], labels[index]


class StreamedImages(Dataset[tuple[Tensor, Tensor]]):
    """Images decoded from their files at every use.

    rule: the change of pixels after decoding, in words (see `Decoder`); it is part of the digest
    """

    def __init__(
        self,
        files: list[Path],
        labels: Tensor,
        shape: tuple[int, int, int],
        decode: Callable[[Path], Tensor],
        rule: str = "",
    ) -> None:
        self.files, self.labels, self.shape, self.decode, self.rule = files, labels, shape, decode, rule
        self.names: Sequence[object] = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.decode(self.files[place]), self.labels[place]

    def subset(self, index: np.ndarray) -> "StreamedImages":
        files = [self.files[place] for place in index.tolist()]
        return StreamedImages(files, self.labels[torch.from_numpy(index)], self.shape, self.decode, self.rule)

    def content(self, place: int) -> bytes:
        return self.files[place].read_bytes()

    def update(self, digest: "_Hash") -> np.ndarray:
        """Hash length and first 4 KiB of every file in place of its pixels: reading a large set takes minutes."""
        hashes = np.empty(len(self), np.int64)
        digest.update(self.rule.encode())
        for place, path in enumerate(self.files):
            with path.open("rb") as file:
                size, head = path.stat().st_size, file.read(4096)
            digest.update(f"{path.parent.name}/{path.name} {size}\n".encode(errors="surrogateescape") + head)
            hashes[place] = hash((size, head))
        digest.update(self.labels.contiguous().numpy().data)
        return hashes

    def moments(self, scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """From at most MOMENT_IMAGES images, evenly spaced."""
        places = evenly_spaced(MOMENT_IMAGES, len(self))
        counts = torch.zeros(self.shape[0], 256, dtype=torch.float64)
        for pixels, _ in self.batches(64, torch.device("cpu"), places):
            counts += _histogram(pixels)
        return _moments(counts, scale)

    def batches(self, size: int, device: torch.device, order: Tensor | None) -> Batches:
        return loaded(self, range(len(self)) if order is None else order.tolist(), size, device)


@dataclass(frozen=True)
class Source:
    """The result of a reader: images with pixels 0..`scale`, in the source's own splits, and notes, as sentences.

    `target` is the kind of the targets, `class_names` are the names of the classes, of the labels or of the values.
    `name` is that of the data set; None for the name of its file or folder. `groups` (N,) has the group of each
    training image, of which none is to be in two splits.
    """

    scale: float
    class_names: tuple[str, ...]
    train: Images
    val: Images | None = None
    test: Images | None = None
    notes: tuple[str, ...] = ()
    name: str | None = None
    target: TargetKind = "classes"
    groups: np.ndarray | None = None


def checked_names(names: Iterable[object], where: object) -> tuple[str, ...]:
    """Class names as text; names that are bytes, as in HDF5 and pickles, are decoded as UTF-8.

    Raises DataError for other bytes, and for line breaks and other control characters: a name is one line in cards,
    tables and class maps.
    """
    found = []
    for name in names:
        try:
            text = name.decode() if isinstance(name, bytes) else str(name)
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: the class name {name!r} is not UTF-8 ({error.reason})") from None
        if any(unicodedata.category(character) in _NOT_IN_A_LINE for character in text):
            raise DataError(f"{where}: the class name {text!r} has a control character; rename the class")
        found.append(text)
    return tuple(found)


_NOT_IN_A_LINE = frozenset(("Cc", "Cs", "Zl", "Zp"))  # control characters, surrogates, line and paragraph separators


def evenly_spaced(n: int, total: int) -> Tensor:
    """Places of min(n, total) of `total` images, evenly spaced: int64, ascending.

    The first images of a folder are all of one class, since it is read class by class; these are of all classes.
    """
    return torch.linspace(0, total - 1, min(n, total), dtype=torch.float64).long()


def loaded(images: Dataset[tuple[Tensor, Tensor]], places: Sequence[Any], size: int, device: torch.device) -> Batches:
    """Batches of at most `size` of the `images` at these places, decoded by several processes if that is faster."""
    loader = DataLoader(
        images,
        batch_size=size,
        sampler=places,
        num_workers=min(WORKERS, len(places) // size // BATCHES_PER_WORKER),
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # without it the loader draws from the global generator
    )
    try:
        for pixels, labels in loader:
            yield pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)
    except DataError as error:  # an error of a decoding process contains that process's traceback
        raise DataError(str(error).strip().rpartition("DataError: ")[2]) from None


@dataclass(frozen=True)
class Normalise:
    """uint8 pixels -> float32 `(pixels / scale - mean) / std`, channel by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    def __call__(self, pixels: Tensor) -> Tensor:
        mean, std = (torch.tensor(v, dtype=torch.float32, device=pixels.device) for v in (self.mean, self.std))
        return (pixels.to(torch.float32) / self.scale - mean[:, None, None]) / std[:, None, None]


class Split:
    """One split of a data set: normalised float32 images with their targets, on any device."""

    def __init__(self, images: Images, normalise: Normalise) -> None:
        self.images, self.normalise = images, normalise
        self._resident: tuple[torch.device, HeldImages] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labels(self) -> Tensor:
        """The targets as in `Images`: int64 (N,) or float32 (N, K), on the CPU."""
        return self.images.labels

    def batches(self, size: int, device: torch.device | str = "cpu", order: Tensor | None = None) -> Batches:
        """Yield (images (B, C, H, W), targets (B,) or (B, K)), B <= `size`, of all images or of those in `order`."""
        device = torch.device(device)
        for pixels, labels in self._on(device).batches(size, device, order):
            yield (pixels if pixels.is_floating_point() else self.normalise(pixels)), labels

    def _on(self, device: torch.device) -> Images:
        """The images in the fastest form for batches: images in memory are moved to the device once.

        Raises DataError if they do not fit there.
        """
        if not isinstance(self.images, HeldImages):
            return self.images
        if self._resident is None or self._resident[0] != device:
            try:
                pixels, labels = self.images.pixels.to(device), self.images.labels.to(device)
                if 4 * pixels.numel() <= NORMALISED_BYTES:
                    pixels = self.normalise(pixels)
            except torch.OutOfMemoryError as error:
                raise DataError(
                    f"{len(self)} images of {self.images.pixels.nbytes / 2**30:.1f} GiB do not fit into the memory of "
                    f"{device}; use a device with more memory, or a folder of images, which is read batch by batch"
                ) from error
            self._resident = device, HeldImages(pixels, labels)
        return self._resident[1]


def _histogram(pixels: Tensor) -> Tensor:
    """The number of each of the 256 values in each channel: (C, 256), exact."""
    channels = pixels.transpose(0, 1).flatten(1)
    return torch.stack([torch.bincount(channel, minlength=256) for channel in channels]).to(torch.float64)


def _moments(counts: Tensor, scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation from a histogram; 1 for a constant channel, which is thus normalised to 0."""
    values = torch.arange(256, dtype=torch.float64) / scale
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ values
    std = (share * (values - mean[:, None]) ** 2).sum(1).sqrt()
    std[(counts > 0).sum(1) == 1] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
