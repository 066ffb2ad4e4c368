"""Checks of the targets of a data set, and their mean and standard deviation."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hadnas.errors import DataError
from hadnas.targets import ONE_OF
from hadnas.train.data.images import Images, Source

CONSTANT = 1e-6
"""Values whose standard deviation is below this share of their largest size are too close: float32 has seven digits."""


RESOLVED = 1e-3
"""Rounding to float32 may change values by this share of their standard deviation at most."""


def as_float32(values: np.ndarray, where: Callable[[int, int], str], line: Callable[[int], str]) -> np.ndarray:
    """Labels or values (N, K) of any type as float32.

    where, line: a number in messages by row and column, and a column in Python

    Raises DataError for a number that float32 does not have, and for values that it does not tell apart.
    """
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    wrong = np.isinf(found) & np.isfinite(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        limit = np.finfo(np.float32).max
        raise DataError(
            f"{where(row, column)} is {values[row, column]:g}; allowed are numbers from {-limit:.2g} to {limit:.2g}"
        )
    for column, (numbers, rounded) in enumerate(zip(values.T, found.T, strict=True)):
        if np.isfinite(numbers).all() and numbers.min() < numbers.max():
            away, std = np.abs(numbers - rounded), numbers.std(dtype=np.float64)
            if away.max() > RESOLVED * std:
                row = int(away.argmax())
                raise DataError(
                    f"{where(row, column)} is {numbers[row]:.15g}, which float32 rounds by {away[row]:.2g} while the "
                    f"standard deviation is {std:.2g}; subtract one number in all splits: "
                    f"{line(column)} -= {numbers.mean():.15g}"
                )
    return found


def check_targets(found: Source, where: str) -> None:
    """Raise DataError unless every image of every split has a target of the source's kind.

    A class is a number from 0 to N - 1, and there are two at least; a label is 0 or 1; a value is finite.
    """
    names = found.class_names
    if found.target == "classes" and len(names) < 2:
        raise DataError(f"{where}: only one class, {names[0]!r}; a classifier needs at least two")
    for part, images in (("train", found.train), ("val", found.val), ("test", found.test)):
        if images is not None and found.target == "classes":
            labels = images.labels
            if (bad := labels[(labels < 0) | (labels >= len(names))]).numel():
                raise DataError(f"{where}: {part} label {int(bad[0])} is out of range 0..{len(names) - 1}")
        elif images is not None:
            _check_numbers(images, found, f"{where}: {part}")
    if found.target == "classes":
        counts = torch.bincount(found.train.labels, minlength=len(names))
        empty = int(counts.argmin())
        if counts[empty] == 0:
            raise DataError(f"{where}: class {names[empty]!r} (label {empty}) has no training image")


def _check_numbers(images: Images, found: Source, where: str) -> None:
    numbers = images.labels
    if tuple(numbers.shape) != (len(images.names), len(found.class_names)):
        allowed = f"({len(images.names)}, {len(found.class_names)}), a row for each image"
        raise DataError(f"{where}: {found.target} have the shape {tuple(numbers.shape)}; allowed is {allowed}")
    wrong = ~numbers.isfinite() if found.target == "values" else (numbers != 0) & (numbers != 1)
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        allowed = "finite numbers" if found.target == "values" else "0 and 1"
        raise DataError(
            f"{where} image {str(images.names[row])!r}: {ONE_OF[found.target]} {found.class_names[column]!r} is "
            f"{float(numbers[row, column]):g}; allowed are {allowed}"
        )


def check_varied(train: Images, found: Source, where: str) -> None:
    """Raise DataError if a label or value is the same for all training images, or values are too close."""
    for name, column in zip(found.class_names, train.labels.T if found.target != "classes" else (), strict=False):
        low, high = float(column.min()), float(column.max())
        if low < high and found.target == "values" and float(_std(column)) < CONSTANT * max(abs(low), abs(high)):
            raise DataError(
                f"{where}: value {name!r} is from {low:.9g} to {high:.9g}, which float32 hardly tells apart; subtract "
                "one number in all splits, in float64"
            )
        if low == high:
            rule = "0 for some and 1 for others" if found.target == "labels" else "a value that differs between images"
            raise DataError(
                f"{where}: {ONE_OF[found.target]} {name!r} is {low:g} for all {len(column)} training images; needed is "
                f"{rule}"
            )


def target_moments(train: Images, found: Source) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each value over the training split; () and () unless the target is values."""
    if found.target != "values":
        return (), ()
    values = train.labels.double()
    return tuple(values.mean(0).tolist()), tuple(_std(values).tolist())


def _std(values: Tensor) -> Tensor:
    return values.double().std(0, correction=0)
