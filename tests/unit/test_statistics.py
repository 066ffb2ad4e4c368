"""Intervals that count seeds and images, and rank correlations: by hand, against scipy, and by their coverage."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit, logit

from hadnas.errors import SpecError
from hadnas.results.statistics import accuracy, difference, interval_words, rank_correlation
from tests.bench.star_or_sum import holm


def simulated(
    rng: np.random.Generator, k: int, n: int, gain: float = 0.0, seed_std: float = 0.15
) -> tuple["np.ndarray", "np.ndarray"]:
    """Hits of two networks whose seeds and images are drawn, the second `gain` logits better at every image."""
    hard = rng.normal(1.5, 1.5, size=n)
    out = []
    for better in (0.0, gain):
        own = rng.normal(0, seed_std, size=(k, 1))
        chance = 1 / (1 + np.exp(-(hard + better + own)))
        out.append(rng.random((k, n)) < chance)
    return out[0], out[1]


def test_one_seed_is_the_interval_of_the_images() -> None:
    hits = [[True] * 90 + [False] * 10]
    found = accuracy(hits)
    half = stats.t.ppf(0.975, 99) * (0.9 * 0.1 / 99) ** 0.5 / (0.9 * 0.1)  # the delta method: d logit(p) / dp
    ends = expit([logit(0.9) - half, logit(0.9) + half])
    assert found.mean == 0.9 and (found.low, found.high) == pytest.approx(tuple(ends))
    assert found.seed_std is None and found.p is None and (found.seeds, found.n) == (1, 100)


def test_by_hand() -> None:
    hits = np.array([[1, 1, 1, 1, 0, 1], [0, 0, 1, 1, 0, 0], [1, 0, 1, 1, 0, 1]])
    rows, columns = hits.mean(1), hits.mean(0)  # 5/6, 1/3, 2/3 and 2/3, 1/3, 1, 1, 0, 2/3
    seeds, images = 6 * rows.var(ddof=1), 3 * columns.var(ddof=1)
    rest = ((hits - rows[:, None] - columns + hits.mean()) ** 2).sum() / 10
    total = seeds + images - rest
    assert total > max(seeds, images)
    freedom = total**2 / (seeds**2 / 2 + images**2 / 5 + rest**2 / 10)
    reach = stats.t.ppf(0.975, freedom) * (total / 18) ** 0.5
    found = difference(hits.astype(bool).tolist(), np.zeros((3, 6), dtype=bool).tolist())
    assert (found.mean, found.low, found.high) == pytest.approx((11 / 18, 11 / 18 - reach, 1.0))
    assert 11 / 18 + reach > 1  # which no difference can be
    assert found.seed_std == pytest.approx(rows.std(ddof=1))
    alone = accuracy(hits.astype(bool).tolist())
    reach = reach / (11 / 18 * 7 / 18)
    assert (alone.low, alone.high) == pytest.approx(tuple(expit([logit(11 / 18) - reach, logit(11 / 18) + reach])))


@pytest.mark.parametrize(("k", "n"), [(3, 300), (6, 150)])
def test_intervals_hold_what_they_promise(k: int, n: int) -> None:
    rng = np.random.default_rng(0)
    grid = np.random.default_rng(1).normal(size=(200, 400))
    truth = (1 / (1 + np.exp(-(1.5 + 1.5 * grid[:100] + 0.15 * grid[100:])))).mean()
    held = held_difference = 0
    for _ in range(400):
        left, right = simulated(rng, k, n)
        found, apart = accuracy(left.tolist()), difference(left.tolist(), right.tolist())
        held += found.low <= truth <= found.high
        held_difference += apart.noise
    assert 0.92 < held / 400 <= 1.0
    assert 0.92 < held_difference / 400 <= 1.0


@pytest.mark.parametrize("k", [3, 6])
def test_an_interval_near_one_covers_what_it_promises(k: int) -> None:
    """Logits of images have a standard deviation of 2.5 and of seeds of 0.15; the plain t-interval covers 0.90."""
    rng = np.random.default_rng(0)
    apart = (2.5**2 + 0.15**2) ** 0.5
    middle = brentq(lambda loc: stats.norm.expect(expit, loc=loc, scale=apart) - 0.995, 0, 20)
    held = plain = 0
    for _ in range(600):
        logits = middle + rng.normal(0, 2.5, size=360) + rng.normal(0, 0.15, size=(k, 1))
        hits = (rng.random((k, 360)) < expit(logits)).tolist()
        found, around = accuracy(hits), difference(hits, [[False] * 360] * k)  # the same mean, as a difference
        held += found.low <= 0.995 <= found.high
        plain += around.low <= 0.995 <= around.high
    assert 0.94 < held / 600 <= 0.99
    assert plain / 600 < 0.92


def test_holm_corrects_for_the_number_of_comparisons() -> None:
    """The example by hand: the smallest of three times 3, the next times 2; never below the one before, nor above 1."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0] and holm([0.02]) == [0.02] and holm([]) == []


def test_a_real_difference_is_found_and_its_p_value_needs_six_pairs() -> None:
    rng = np.random.default_rng(0)
    worse, better = simulated(rng, 6, 500, gain=1.0)
    found = difference(better.tolist(), worse.tolist())
    assert not found.noise and found.mean > 0 and found.p is not None and found.p < 0.01
    assert difference(better[:5].tolist(), worse[:5].tolist()).p is None


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(0)
    left, right = simulated(rng, 6, 500, seed_std=0.0)
    apart = difference(left.tolist(), right.tolist())
    one, two = accuracy(left.tolist()), accuracy(right.tolist())
    assert apart.high - apart.low < (one.high - one.low) + (two.high - two.low)


def test_networks_that_agree_everywhere_are_not_called_equal_to_the_last_digit() -> None:
    hits = [[True] * 50] * 3
    found = difference(hits, hits)
    assert found.mean == 0 and found.noise and found.high == pytest.approx(3 / 50)
    assert accuracy(hits).high == 1.0 and accuracy(hits).low == pytest.approx(1 - 3 / 50)


@pytest.mark.parametrize("hits", [[], [[True]], [True, False]])
def test_too_little_is_refused(hits: list[object]) -> None:
    with pytest.raises(SpecError, match=r"of shape .*allowed"):
        accuracy(hits)  # type: ignore[arg-type]


def test_pairs_need_the_same_seeds_and_images() -> None:
    with pytest.raises(SpecError, match=r"\(1, 2\) and \(1, 3\)"):
        difference([[True, False]], [[True, False, True]])


def test_what_an_interval_counts_is_said() -> None:
    assert "images only" in interval_words(1) and "the seeds and the images" in interval_words(2)


def test_rank_correlation_is_spearmans_ties_and_infinities_included() -> None:
    left, right = [1.0, 2.0, 2.0, 5.0, 4.0, -math.inf], [3.0, 1.0, 4.0, 4.0, 9.0, 0.0]
    found = rank_correlation(left, right)
    assert found.rho == pytest.approx(stats.spearmanr([2, 3, 3, 6, 5, 1], [3, 2, 4, 4, 6, 1]).statistic)
    assert found.n == 6 and found.rho is not None and found.low is not None and found.high is not None
    assert -1 < found.low < found.rho < found.high < 1
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == type(found)(-1.0, -1.0, 1.0, 3)
    least = rank_correlation([1, 2, 3, 4], [1, 2, 3, 4])  # one order of 24: four pairs prove little
    assert (least.rho, least.high) == (1.0, 1.0) and least.low == pytest.approx(-0.691, abs=1e-3)
    many = rank_correlation(range(30), range(29, -1, -1))
    assert (many.rho, many.low) == (-1.0, -1.0) and many.high is not None and -1 < many.high < -0.995
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).rho is None and str(rank_correlation([1], [2])) == "-"
    with pytest.raises(SpecError, match=r"2 and 2 values.*NaN"):
        rank_correlation([1, math.nan], [1, 2])
    with pytest.raises(SpecError, match="2 and 3 values"):
        rank_correlation([1, 2], [1, 2, 3])


def test_its_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    true = 6 / np.pi * np.arcsin(0.7 / 2)  # Spearman's of a bivariate normal with correlation 0.7
    held = 0
    for _ in range(400):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=30).T
        found = rank_correlation(x.tolist(), y.tolist())
        assert found.low is not None and found.high is not None
        held += found.low <= true <= found.high
    assert 0.91 * 400 <= held <= 0.98 * 400
