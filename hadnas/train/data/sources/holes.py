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

    Of each image a share of the squares on a grid, rounded, at least one fewer than all, are holes, with random values
    from 0 to the largest of all training pixels, each as likely. Both are drawn with one seed: the holes of a share are
    also those of any larger one, and equal images have equal holes, so that one in two splits is still noticed. Raises
    DataError for a share that is none, and for images that are streamed, or more inputs than one.
    """
    text, _, inner = source.removeprefix(HOLES).partition(":")
    share = _share(text, source)
    found = read_source(inner, options)
    parts = {part: own for part in SPLITS if (own := getattr(found, part)) is not None}
    held = {part: own for part, own in parts.items() if isinstance(own, HeldImages)}
    if held.keys() != parts.keys():
        raise DataError(f"{source}: holes are for one image, in memory; {inner} has other inputs, or is too large")
    largest = int(held["train"].pixels.max())
    pixels, valid = _with_holes(np.concatenate([own.pixels.numpy() for own in held.values()]), share, largest)
    made, start = {}, 0
    for part, own in held.items():
        rows = slice(start, start := start + len(own.labels))
        values = {IMAGE: pixels[rows], MASK: valid[rows].astype(np.float32)}
        places = torch.arange(len(own.labels))
        columns = [InputColumn(name, torch.from_numpy(one), places, mask=name == MASK) for name, one in values.items()]
        made[part] = HeldInputs(columns, own.labels, own.names)
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


def _with_holes(pixels: np.ndarray, share: float, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, H, W) with values up to `largest` in their holes, and their masks (N, 1, H, W)."""
    generator = np.random.default_rng(0)
    count, _, height, width = pixels.shape
    side = max(1, min(height, width) // SIDE_SHARE)
    rows, columns = -(-height // side), -(-width // side)
    holes = min(round(share * rows * columns), rows * columns - 1)
    ranks = generator.random((count, rows * columns)).argsort(1).argsort(1).reshape(count, rows, columns)
    valid = (ranks >= holes).repeat(side, 1).repeat(side, 2)[:, None, :height, :width]
    values = generator.integers(0, largest + 1, pixels.shape, dtype=np.uint8)
    _, first, own = np.unique(pixels.reshape(count, -1), axis=0, return_index=True, return_inverse=True)
    drawn = first[own.ravel()]  # equal images have the draw of the first of them
    return np.where(valid[drawn], pixels, values[drawn]), valid[drawn]
