"""Registration in small: a digit and its shifted, rotated copy, whose shift and angle are to be found."""

import numpy as np
import torch

from hadnas.train.data.columns import HeldInputs, InputColumn
from hadnas.train.data.images import Source
from hadnas.train.data.reader import reader

PIXELS = 24
"""Pixels along a side of both images."""

ZOOM = 2.0
"""Pixels of the images per pixel of scikit-learn's digits."""

SHIFT, ANGLE = 3.0, 30.0
"""The largest shift along an axis in pixels, and the largest angle in degrees."""

IMAGE_PAIRS = {"train": 6000, "val": 2000, "test": 2000}
"""Image pairs of each split. Its digits, 60, 20 and 20 % of all, are in no other split."""


@reader("'registration'", takes=lambda source: source == "registration", named=True)
def read_registration(source: str) -> Source:
    """A digit (`fixed`) and its copy (`moving`), rotated about the centre, then shifted right and down.

    Targets are the shift in pixels along both axes, and the angle in degrees, counter-clockwise.
    """
    from sklearn.datasets import load_digits

    generator = np.random.default_rng(0)
    digits = load_digits().images
    order = generator.permutation(len(digits))
    ends = [0, round(0.6 * len(order)), round(0.8 * len(order)), len(order)]
    parts = {}
    for (part, count), first, last in zip(IMAGE_PAIRS.items(), ends[:-1], ends[1:], strict=True):
        chosen = digits[generator.choice(order[first:last], count)]
        targets = generator.uniform(-1, 1, size=(count, 3)) * (SHIFT, SHIFT, ANGLE)
        columns = [
            InputColumn(name, torch.from_numpy(moved_images(chosen, by)), torch.arange(count))
            for name, by in (("fixed", np.zeros_like(targets)), ("moving", targets))
        ]
        parts[part] = HeldInputs(columns, torch.from_numpy(targets.astype(np.float32)))
    names = ("shift right", "shift down", "angle")
    return Source(255.0, names, parts["train"], parts["val"], parts["test"], target="values")


def moved_images(digits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Digits (N, 8, 8) of values 0..16 as uint8 images (N, 1, PIXELS, PIXELS), each shifted and rotated by its targets.

    A pixel of the result is read, bilinearly, where the inverse motion leads: p = R(-angle) (q - shift), from the
    centre.
    """
    from scipy.ndimage import map_coordinates

    centre, middle = (PIXELS - 1) / 2, (digits.shape[1] - 1) / 2
    down, right = np.meshgrid(np.arange(PIXELS) - centre, np.arange(PIXELS) - centre, indexing="ij")
    out = np.empty((len(digits), 1, PIXELS, PIXELS), np.uint8)
    for image, digit, (x, y, degrees) in zip(out, digits, targets, strict=True):
        turn = np.deg2rad(degrees)
        across, along = right - x, down - y
        # rows count downwards, so that a counter-clockwise turn has the sine of the other sign
        column = np.cos(turn) * across - np.sin(turn) * along
        row = np.sin(turn) * across + np.cos(turn) * along
        values = map_coordinates(digit, [row / ZOOM + middle, column / ZOOM + middle], order=1, cval=0.0)
        image[0] = np.rint(values * (255 / 16))
    return out
