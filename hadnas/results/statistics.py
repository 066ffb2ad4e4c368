"""Intervals of a mean metric over several seeds and one test set: crossed random effects.

Every training (row, a seed) classifies every image (column), so a hit or miss depends on the seed, on the image and on
both. The variance of the grand mean is that of the two-way random-effects model without replication,
(MS_seeds + MS_images - MS_rest) / (k n), and its degrees of freedom are Satterthwaite's. An interval from seeds alone
would ignore the variance over images; a binomial interval would ignore the variance over seeds.

The interval of an accuracy is computed on the logit scale, with the standard error se / (p (1 - p)) by the delta
method (Brown, Cai and DasGupta, Statistical Science 16, 2001, section 4.1): near 1 the plain t-interval exceeds 1 on
one side and is too short on the other. Simulated with 360 images and 2, 3 and 6 seeds (standard deviation of the
logits 2.5 over images, 0.15 over seeds; 3,000 draws each), it covers .956 to .980 at accuracies of .985 to .995, the
plain one .892 to .943. The interval of a difference is the plain one: differences are far from -1 and 1.

A metric that is no mean over the images, such as the macro F1, has the plain interval, with the variance over images
from a bootstrap of the images, the same for all seeds, plus the variance over the seeds by k. The latter includes a
part of the former, so the interval is rather too long than too short.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import expit, logit

from hadnas.errors import SpecError

Hits = npt.NDArray[np.float64]
"""1 for a correct prediction, else 0, or a difference of two such: (seeds, images)."""

MIN_SEED_PAIRS = 6
"""The fewest pairs of seeds for a p-value of a difference; with fewer it has an interval only."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `seeds` trainings and `n` images, its 95 % interval, and for a difference its p-value.

    `seed_std` is the standard deviation over the seeds alone; None for a single seed.
    """

    mean: float
    low: float
    high: float
    seeds: int
    n: int
    seed_std: float | None
    p: float | None = None

    def within(self, low: float, high: float) -> "Estimate":
        """The interval cut to the values that are possible."""
        return replace(self, low=max(self.low, low), high=min(self.high, high))

    @property
    def noise(self) -> bool:
        """Whether the interval contains 0: the difference is within the noise."""
        return self.low <= 0 <= self.high


def interval_words(seeds: int) -> str:
    """The sources of variance in the intervals of so many seeds, in words."""
    if seeds == 1:
        return "one seed: intervals count the images only, and other seeds may differ by more"
    return "intervals count the seeds and the images; differences are paired by both"


def accuracy(hits: Sequence[Sequence[float]]) -> Estimate:
    """The accuracy, or another share, of a network trained with each of several seeds, from hits (seeds, images).

    0 <= low, high <= 1.
    """
    found = _spread(_table(hits))
    if found.error == 0:
        return found.estimate(max(0.0, found.mean - 3 / found.n), min(1.0, found.mean + 3 / found.n))
    middle, reach = logit(found.mean), found.reach / (found.mean * (1 - found.mean))
    return found.estimate(float(expit(middle - reach)), float(expit(middle + reach)))


def mean_score(scores: Sequence[Sequence[float]]) -> Estimate:
    """The mean of scores of any size, such as absolute errors: (seeds, images)."""
    return _plain(_spread(_table(scores)))


def difference(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]], *, share: bool = True) -> Estimate:
    """The mean of `left` minus that of `right`, paired by seed and by image: row s of both has the same seed.

    The interval of a difference of shares is within -1 and 1.
    """
    if np.shape(left) != np.shape(right):
        raise SpecError(f"hits {np.shape(left)} and {np.shape(right)}: pairs need the same seeds and images")
    found = _plain(_spread(_table(left) - _table(right)), tested=True)
    if not share:
        return found
    reach = found.high - found.mean or 3 / found.n
    return replace(found, low=max(-1.0, found.mean - reach), high=min(1.0, found.mean + reach))


def resampled_mean(values: Sequence[float], drawn: Sequence[float], n: int, *, tested: bool = False) -> Estimate:
    """The mean of a metric over seeds, one of `values` each, or of differences of two networks.

    drawn: the mean on each bootstrap sample of the `n` images; `tested` gives differences a p-value
    """
    k, over_images = len(values), float(np.var(drawn, ddof=1))
    std = float(np.std(values, ddof=1)) if k > 1 else None
    parts = [(over_images, n - 1), *([] if std is None else [(std**2 / k, k - 1)])]
    total = sum(part for part, _ in parts)
    return _plain(_Spread(float(np.mean(values)), total**0.5, _freedom(total, parts), k, n, std), tested=tested)


def _plain(found: "_Spread", *, tested: bool = False) -> Estimate:
    """The t-interval, and for a difference the p-value of the t-test if it has enough seeds."""
    p = None
    if tested and found.error and found.seeds >= MIN_SEED_PAIRS:
        p = float(2 * stats.t.sf(abs(found.mean) / found.error, found.freedom))
    reach = found.reach if found.error else 0.0
    return found.estimate(found.mean - reach, found.mean + reach, p)


def _table(hits: Sequence[Sequence[float]]) -> Hits:
    table = np.asarray(hits, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise SpecError(f"hits of shape {table.shape}: allowed are one or more seeds by two or more images")
    return table


@dataclass(frozen=True)
class _Spread:
    """The grand mean of a table (seeds, images), its standard error and degrees of freedom.

    An error of 0 means a constant table; the interval then reaches 3 / n to each side (the rule of three).
    """

    mean: float
    error: float
    freedom: float
    seeds: int
    n: int
    seed_std: float | None

    @property
    def reach(self) -> float:
        """Half the width of the 95 % interval."""
        return float(stats.t.ppf(0.975, self.freedom)) * self.error

    def estimate(self, low: float, high: float, p: float | None = None) -> Estimate:
        return Estimate(self.mean, low, high, self.seeds, self.n, self.seed_std, p)


def _spread(table: Hits) -> _Spread:
    k, n = table.shape
    mean = float(table.mean())
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    images = k * float(columns.var(ddof=1))
    if k == 1:  # the variance over seeds is unknown; the interval counts the images only
        parts = [(images, n - 1)]
        total = images
    else:
        seeds = n * float(rows.var(ddof=1))
        rest = float(((table - rows[:, None] - columns + mean) ** 2).sum()) / ((k - 1) * (n - 1))
        parts = [(seeds, k - 1), (images, n - 1), (rest, (k - 1) * (n - 1))]
        total = seeds + images - rest
        if total < max(seeds, images):  # a component's estimate is below 0: it is set to 0
            total, parts = max((seeds, images)), [(seeds, k - 1) if seeds > images else (images, n - 1)]
    return _Spread(
        mean, (total / (k * n)) ** 0.5, _freedom(total, parts), k, n, float(rows.std(ddof=1)) if k > 1 else None
    )


def _freedom(total: float, parts: Sequence[tuple[float, int]]) -> float:
    """Satterthwaite's degrees of freedom of a sum of variances, each with its own."""
    return total**2 / sum(part**2 / df for part, df in parts) if total else 0.0


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over `n` pairs with its 95 % interval; all None if one side is constant."""

    rho: float | None
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        return "-" if self.rho is None else f"{self.rho:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> Correlation:
    """Spearman's rho of two lists of values, with average ranks for ties; infinite values are allowed.

    The interval is Fisher's with the variance (1 + rho^2 / 2) / (n - 3); below four pairs it is -1 to 1. At rho = -1 or
    1 it would have no width, so rho is clipped to half the smallest change of rho (two neighbours swap).
    Raises SpecError for lists of different length or a NaN.
    Source: Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    Psychometrika 65, 2000.
    """
    n = len(left)
    if n != len(right) or any(math.isnan(value) for value in (*left, *right)):
        raise SpecError(f"{n} and {len(right)} values: a rank correlation needs equally many of both, without NaN")
    if len(set(left)) < 2 or len(set(right)) < 2:
        return Correlation(None, None, None, n)
    rho = float(stats.spearmanr(left, right).statistic)
    if n < 4:
        return Correlation(rho, -1.0, 1.0, n)
    most = 1 - 6 / (n**3 - n)
    inside = min(max(rho, -most), most)
    reach = NormalDist().inv_cdf(0.975) * math.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(inside) - reach), math.tanh(math.atanh(inside) + reach)
    return Correlation(rho, -1.0 if rho <= -most else low, 1.0 if rho >= most else high, n)
