"""Labelled images, in memory as one tensor or streamed from files, and a split, which normalises its inputs.

Both kinds give the same pixels in the same order, so a training on either gives the same weights.
"""

import math
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
from hadnas.inputs import Inputs, InputShape, size_of
from hadnas.targets import TargetKind
from hadnas.train.data.normalise import Normalise, Normalisers, histogram, moments_of

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

Batches = Iterator[tuple[Inputs, Tensor]]

IMAGE = "image"
"""The name of the only input of data sets of images."""


class Images(Protocol):
    """The inputs of all images, or of all examples of several inputs, with their targets, on the CPU."""

    labels: Tensor
    """int64 (N,) for classes; float32 (N, K) for labels, of which each is 0 or 1, and for values."""
    inputs: tuple[tuple[str, InputShape], ...]
    """The name and shape of each input."""
    names: Sequence[object]
    """The name of each image in messages: its file, or its place in an array."""

    def content(self, place: int) -> bytes:
        """The bytes of an image's pixels or of its file, equal for two copies of an image."""

    def subset(self, index: np.ndarray) -> "Images":
        """The images at these places, in this order."""

    def update(self, digest: "_Hash") -> np.ndarray:
        """Feed pixels and labels to a hash; returns a hash of each image, int64 (N,), equal for equal content."""

    def normalisers(self, scale: float) -> Normalisers:
        """The normalisation of each input by its mean and standard deviation, of pixels divided by `scale`."""

    def normalised(self, device: torch.device, normalise: Normalisers) -> "Images | None":
        """The inputs in memory, on the device, normalised unless they are too large; None if they are streamed."""

    def batches(self, size: int, device: torch.device, order: Tensor | None) -> Batches:
        """Batches of at most `size` on the device, in this order; in the stored order if `order` is None."""


class HeldImages:
    """Images in memory: (N, C, H, W)."""

    def __init__(self, pixels: Tensor, labels: Tensor, names: Sequence[object] | None = None) -> None:
        self.pixels, self.labels = pixels, labels
        self.names: Sequence[object] = range(len(labels)) if names is None else names
        self.shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        self.inputs: tuple[tuple[str, InputShape], ...] = ((IMAGE, self.shape),)

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

    def normalisers(self, scale: float) -> Normalisers:
        return (Normalise(*moments_of(histogram(self.pixels), scale), scale),)

    def normalised(self, device: torch.device, normalise: Normalisers) -> "Images | None":
        pixels, (how,) = self.pixels.to(device), normalise
        small = how is not None and 4 * pixels.numel() <= NORMALISED_BYTES
        return HeldImages(how(pixels) if how and small else pixels, self.labels.to(device))

    def batches(self, size: int, device: torch.device, order: Tensor | None) -> Batches:
        pixels, labels = self.pixels.to(device), self.labels.to(device)
        if order is None:
            for some, own in zip(torch.split(pixels, size), torch.split(labels, size), strict=True):
                yield (some,), own
        else:
            for index in torch.split(order.to(device), size):
                yield (pixels[index],), labels[index]


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
        self.inputs: tuple[tuple[str, InputShape], ...] = ((IMAGE, shape),)
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

    def normalisers(self, scale: float) -> Normalisers:
        """From at most MOMENT_IMAGES images, evenly spaced."""
        places = evenly_spaced(MOMENT_IMAGES, len(self))
        counts = torch.zeros(self.shape[0], 256, dtype=torch.float64)
        for (pixels,), _ in self.batches(64, torch.device("cpu"), places):
            counts += histogram(pixels)
        return (Normalise(*moments_of(counts, scale), scale),)

    def normalised(self, device: torch.device, normalise: Normalisers) -> "Images | None":
        return None

    def batches(self, size: int, device: torch.device, order: Tensor | None) -> Batches:
        return loaded(self, range(len(self)) if order is None else order.tolist(), size, device)


@dataclass(frozen=True)
class Source:
    """The result of a reader: images with pixels 0..`scale`, in the source's own splits, and notes, as sentences.

    `target` is the kind of the targets, `class_names` are the names of the classes, of the labels or of the values.
    `name` is that of the data set; None for the name of its file or folder. `groups` (N,) has the group of each
    training image, of which none is to be in two splits; `grouped_by` says what a group is.
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
    grouped_by: str = ""


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
            yield (pixels.to(device, non_blocking=True),), labels.to(device, non_blocking=True)
    except DataError as error:  # an error of a decoding process contains that process's traceback
        raise DataError(str(error).strip().rpartition("DataError: ")[2]) from None


class Split:
    """One split of a data set: normalised float32 inputs with their targets, on any device."""

    def __init__(self, images: Images, normalise: Normalisers) -> None:
        self.images, self.normalise = images, normalise
        self._resident: tuple[torch.device, Images | None] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labels(self) -> Tensor:
        """The targets as in `Images`: int64 (N,) or float32 (N, K), on the CPU."""
        return self.images.labels

    def batches(self, size: int, device: torch.device | str = "cpu", order: Tensor | None = None) -> Batches:
        """Yield (inputs, targets (B,) or (B, K)), B <= `size`, of all images or of those in `order`.

        `inputs` are in the order of the network's arguments; of data of images it is one tensor (B, C, H, W).
        """
        device = torch.device(device)
        for inputs, labels in self._on(device).batches(size, device, order):
            yield self._normalised(inputs), labels

    def _normalised(self, inputs: Inputs) -> Inputs:
        pairs = zip(self.normalise, inputs, strict=True)
        return tuple(one if one.dtype == torch.float32 or how is None else how(one) for how, one in pairs)

    def _on(self, device: torch.device) -> Images:
        """The images in the fastest form for batches: images in memory are moved to the device once.

        Raises DataError if they do not fit there.
        """
        if self._resident is None or self._resident[0] != device:
            try:
                self._resident = device, self.images.normalised(device, self.normalise)
            except torch.OutOfMemoryError as error:
                size = sum(math.prod(size_of(shape)) for _, shape in self.images.inputs) * len(self)
                raise DataError(
                    f"{len(self)} images of {size / 2**30:.1f} GiB do not fit into the memory of "
                    f"{device}; use a device with more memory, or a folder of images, which is read batch by batch"
                ) from error
        return self._resident[1] or self.images
