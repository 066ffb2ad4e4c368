"""How sure a mean accuracy is that rests on several seeds and on one test set: both vary, and they are crossed.

Every training (row, a seed) meets every image (column), so a hit or miss depends on the seed, on the image and on
both. The variance of the grand mean is that of the two-way random-effects model without replication,
(MS_seeds + MS_images - MS_rest) / (k n), and its degrees of freedom are Satterthwaite's. An interval from seeds alone
takes the images for the whole population; a binomial one takes one training for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from hadnas.errors import SpecError

FEWEST_PAIRS = 6
"""Pairs of seeds below which a difference gets an interval and no p-value."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `seeds` trainings and `n` images, its `confidence` interval, and for a difference its p-value.

    `seed_std` is the standard deviation over the seeds alone; None for a single seed.
    """

    mean: float
    low: float
    high: float
    seeds: int
    n: int
    seed_std: float | None
    p: float | None = None

    @property
    def noise(self) -> bool:
        """Whether the interval holds 0: for a difference, that it is inside the noise."""
        return self.low <= 0 <= self.high


def counted(seeds: int) -> str:
    """What the intervals of so many seeds count, in words."""
    if seeds == 1:
        return "one seed: intervals count the images only, and other seeds may differ by more"
    return "intervals count the seeds and the images; differences are paired by both"


def accuracy(hits: Sequence[Sequence[bool]], confidence: float = 0.95) -> Estimate:
    """The accuracy of a network trained with each of several seeds, from hits (seeds, images); 0 <= low, high <= 1."""
    return replace(_within(_estimate(_table(hits), confidence), 0.0), p=None)


def difference(left: Sequence[Sequence[bool]], right: Sequence[Sequence[bool]], confidence: float = 0.95) -> Estimate:
    """The accuracy of `left` minus that of `right`, paired by seed and by image: row s of both has the same seed."""
    if np.shape(left) != np.shape(right):
        raise SpecError(f"hits {np.shape(left)} and {np.shape(right)}: pairs need the same seeds and the same images")
    return _within(_estimate(_table(left) - _table(right), confidence), -1.0)


def _within(found: Estimate, least: float) -> Estimate:
    return replace(found, low=max(least, found.low), high=min(1.0, found.high))


def _table(hits: Sequence[Sequence[bool]]) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    table = np.asarray(hits, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise SpecError(f"hits of shape {table.shape}: allowed are one or more seeds by two or more images")
    return table


def _estimate(table: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", confidence: float) -> Estimate:
    k, n = table.shape
    mean = float(table.mean())
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    images = k * float(columns.var(ddof=1))
    if k == 1:  # one training: nothing is known of other seeds, and the interval is that of the images alone
        parts = [(images, n - 1)]
        total = images
    else:
        seeds = n * float(rows.var(ddof=1))
        rest = float(((table - rows[:, None] - columns + mean) ** 2).sum()) / ((k - 1) * (n - 1))
        parts = [(seeds, k - 1), (images, n - 1), (rest, (k - 1) * (n - 1))]
        total = seeds + images - rest
        if total < max(seeds, images):  # the rest outweighs one of them: an estimate below 0, taken as 0
            total, parts = max((seeds, images)), [(seeds, k - 1) if seeds > images else (images, n - 1)]
    if total == 0:  # no image was ever told apart: at most 3 / n of them could have been missed (the rule of three)
        return Estimate(mean, mean - 3 / n, mean + 3 / n, k, n, 0.0 if k > 1 else None)
    error = (total / (k * n)) ** 0.5
    freedom = total**2 / sum(square**2 / df for square, df in parts)
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, freedom)) if k >= FEWEST_PAIRS else None
    return Estimate(mean, mean - reach, mean + reach, k, n, float(rows.std(ddof=1)) if k > 1 else None, p)
