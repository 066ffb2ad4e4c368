"""Data sets that timm reads by name from a folder, as `torch/cifar10:DIR`; nothing is downloaded."""

from typing import Any

import torch
from PIL import Image
from timm.data import create_dataset
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from hadnas.errors import DataError
from hadnas.train.images import HeldImages

PREFIX = "torch/"
"""How such a source begins: torchvision's data sets, which lie in a folder. timm's other readers go to the network."""

ELSEWHERE = ("hfds/", "hfids/", "tfds/", "wds/")
"""timm's readers that go to the network or through a library of their own."""


def read_timm(source: str, limit: int, size: int | None) -> tuple[list[str], HeldImages, HeldImages]:
    """Class names, training images and test images of `torch/NAME:DIR`: timm's train and validation splits, in memory.

    `size` resizes as in a folder. Raises DataError where the data set is not in DIR, its images differ in size or take
    more than `limit` bytes.
    """
    name, _, root = source.partition(":")
    found: dict[str, Any] = {}
    for split in ("train", "validation"):
        try:
            found[split] = create_dataset(name, root, split=split, download=False)
        except Exception as error:  # every data set has errors of its own
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{source}: timm cannot read {name!r} in the folder {root!r} ({said}); "
                "write torch/NAME:DIR, such as torch/cifar10:data"
            ) from error
    train, test = (_held(images, f"{source}: {split}", limit, size) for split, images in found.items())
    return [str(item) for item in found["train"].classes], train, test


def _held(found: Any, where: str, limit: int, size: int | None) -> HeldImages:
    pixels: list[Tensor] = []
    labels: list[int] = []
    for image, label in (found[index] for index in range(len(found))):
        pixels.append(pil_to_tensor(image if size is None else squared(image, size)))
        labels.append(label)
        if pixels[-1].shape != pixels[0].shape:
            raise DataError(
                f"{where} image {len(labels) - 1} is {tuple(pixels[-1].shape)}, the first {tuple(pixels[0].shape)} "
                "(channels, height, width); images of one size are needed, or give `size` to resize them all"
            )
        if len(found) * pixels[0].numel() > limit:
            raise DataError(f"{where} images take more than {limit:,} bytes; give them as a folder, which is streamed")
    return HeldImages(torch.stack(pixels), torch.tensor(labels, dtype=torch.int64))


def squared(image: Image.Image, size: int) -> Image.Image:
    """The shorter side resized to `size`, bilinearly, then the centre of the longer one."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))
