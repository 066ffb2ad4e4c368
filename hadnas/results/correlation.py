"""How well one figure ranks what another ranks, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from scipy import stats

from hadnas.errors import SpecError


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over `n` pairs with its 95 % interval; all None where a side never changes."""

    rho: float | None
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        return "-" if self.rho is None else f"{self.rho:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> Correlation:
    """Spearman's rho of two figures of the same things, ties shared; infinite values rank like others.

    The interval is Fisher's with the variance (1 + rho^2 / 2) / (n - 3); below four pairs it is -1 to 1. It is taken at
    most half a step from -1 and 1 (a step: two neighbours change places), where it would have no width.
    Raises SpecError for lists of different length or a value that is not a number.
    Source: Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    Psychometrika 65, 2000.
    """
    n = len(left)
    if n != len(right) or any(math.isnan(value) for value in (*left, *right)):
        raise SpecError(f"{n} and {len(right)} values: a rank correlation needs as many of both, all of them numbers")
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
