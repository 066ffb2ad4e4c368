"""Data sets that timm reads by name from a folder, as `torch/cifar10:DIR`, without a download."""

import warnings
from typing import Any

import torch
from PIL import Image
from timm.data import create_dataset
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from hadnas.errors import DataError, at
from hadnas.train.data.decode import check_depth, is_grey, squared, upright
from hadnas.train.data.images import HELD_BYTES, HeldImages, Source, checked_names
from hadnas.train.data.reader import reader

PREFIX = "torch/"
"""The beginning of such a source: timm's reader of torchvision's data sets, from a folder."""

REFUSED = ("hfds/", "hfids/", "tfds/", "wds/")
"""timm's readers that use the network or need another library."""


@reader(
    f"{PREFIX}NAME:DIR, a data set of torchvision",
    takes=lambda source: source.startswith((PREFIX, *REFUSED)),
    named=True,
    options=("size",),
)
def read_timm(source: str, size: int | None) -> Source:
    """Training images and test images of `torch/NAME:DIR`: timm's train and validation splits, in memory.

    `size` resizes as in a folder. Raises DataError if the data set is not in DIR, if its images differ in size or take
    more than HELD_BYTES.
    """
    if source.startswith(REFUSED):
        raise DataError(
            f"data source {source!r}: of timm's readers {PREFIX}NAME:DIR is allowed, since the others use the "
            "network or need another library; write the images into a folder with one sub-folder per class"
        )
    name, _, root = source.partition(":")
    if name.lower() in ("torch/folder", "torch/image_folder"):
        raise DataError(f"{source}: torchvision drops transparency and colour depth; use the folder itself, {root!r}")
    found: dict[str, Any] = {}
    for split in ("train", "validation"):
        try:
            found[split] = create_dataset(name, root, split=split, download=False)
            classes = found[split].classes
        except Exception as error:  # every data set has its own errors
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{source}: timm cannot read {name!r} in the folder {root!r} ({reason}); "
                "write torch/NAME:DIR, such as torch/cifar10:data"
            ) from error
    train, test = (_held(images, f"{source}: {split}", size) for split, images in found.items())
    return Source(255.0, checked_names(classes, source), train, test=test, name=name.removeprefix(PREFIX))


def _held(found: Any, where: str, size: int | None) -> HeldImages:
    pixels: list[Tensor] = []
    labels: list[int] = []
    for index in range(len(found)):
        image, label = _one(found, index, where)
        pixels.append(pil_to_tensor(image if size is None else squared(image, size)))
        labels.append(label)
        if pixels[-1].shape != pixels[0].shape:
            raise DataError(
                f"{where} image {len(labels) - 1} is {tuple(pixels[-1].shape)}, the first {tuple(pixels[0].shape)} "
                "(channels, height, width); images of one size are needed, or give `size` to resize them all"
            )
        if len(found) * pixels[0].numel() > HELD_BYTES:
            raise DataError(
                f"{where} images take more than {HELD_BYTES:,} bytes; give them as a folder, which is streamed"
            )
    names = [f"{where} image {index}" for index in range(len(labels))]
    return HeldImages(torch.stack(pixels), torch.tensor(labels, dtype=torch.int64), names)


def _one(found: Any, index: int, where: str) -> tuple[Image.Image, int]:
    """An image, converted like those of a folder, and its label."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image, label = found[index]
            with at(f"{where} image {index}"):
                check_depth(image)
            return upright(image, grey=is_grey(image)), label
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{where} image {index} cannot be decoded ({error})") from error
