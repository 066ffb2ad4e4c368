"""Images of another source with random holes, and the masks of their valid pixels."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hadnas.errors import DataError, cut
from hadnas.paths import as_path
from hadnas.train.data.columns import HeldInputs, InputColumn
from hadnas.train.data.images import IMAGE, HeldImages, Source
from hadnas.train.data.reader import read_source, reader
from hadnas.train.data.sources.arrays import MASK
from hadnas.train.data.spec import READING
from hadnas.train.data.split import SPLITS

HOLES = "holes:"

SIDE_SHARE = 8
"""Holes are squares, so many of which cover the shorter side of an image; of smaller images they are pixels."""


@reader(
    f"'{HOLES}SHARE:SOURCE', images of another source with a share of holes from 0 to below 1",
    takes=lambda source: source.startswith(HOLES),
    named=True,
    options=READING,
)
def read_holes(source: str, **options: Any) -> Source:
    """An image and its mask, of 1 at valid pixels and 0 in holes, in the splits of the other source.

    Of each image a share of the squares on a grid, rounded, at least one fewer than all, are holes. In holes are random
    values from 0 to the largest of all training pixels, each as likely. Holes and values are drawn by a seed of the
    split: the holes of a share are also those of any larger one. Raises DataError for a share that is none, and for
    images that are streamed, or more inputs than one.
    """
    text, _, inner = source.removeprefix(HOLES).partition(":")
    share = _share(text, source)
    found = read_source(inner, options)
    parts = {part: own for part in SPLITS if (own := getattr(found, part)) is not None}
    held = {part: own for part, own in parts.items() if isinstance(own, HeldImages)}
    if held.keys() != parts.keys():
        raise DataError(f"{source}: holes are for one image, in memory; {inner} has other inputs, or is too large")
    largest = int(held["train"].pixels.max())
    made = {part: _with_holes(own, share, largest, seed) for seed, (part, own) in enumerate(held.items())}
    name = f"{HOLES}{share:g}:{found.name or as_path(inner).stem}"
    return replace(found, train=made["train"], val=made.get("val"), test=made.get("test"), name=name)


def _share(text: str, source: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise DataError(f"{source}: the share of holes is {cut(text)}; allowed is a number from 0 to below 1")
    return share


def _with_holes(images: HeldImages, share: float, largest: int, seed: int) -> HeldInputs:
    generator = np.random.default_rng(seed)
    count, (_, height, width) = len(images.labels), images.shape
    side = max(1, min(height, width) // SIDE_SHARE)
    rows, columns = -(-height // side), -(-width // side)
    holes = min(round(share * rows * columns), rows * columns - 1)
    ranks = generator.random((count, rows * columns)).argsort(1).argsort(1).reshape(count, rows, columns)
    valid = (ranks >= holes).repeat(side, 1).repeat(side, 2)[:, None, :height, :width]
    pixels = images.pixels.numpy()
    filled = np.where(valid, pixels, generator.integers(0, largest + 1, pixels.shape, dtype=np.uint8))
    places = torch.arange(count)
    inputs = [
        InputColumn(IMAGE, torch.from_numpy(filled), places),
        InputColumn(MASK, torch.from_numpy(valid.astype(np.float32)), places, mask=True),
    ]
    return HeldInputs(inputs, images.labels, images.names)
