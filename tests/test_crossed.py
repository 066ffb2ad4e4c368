"""Intervals that count seeds and images: by hand, against known variances, and by their coverage."""

import numpy as np
import pytest
from scipy import stats

from hadnas.errors import SpecError
from hadnas.search.crossed import accuracy, counted, difference


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
    half = stats.t.ppf(0.975, 99) * (0.9 * 0.1 / 99) ** 0.5
    assert found.mean == 0.9 and found.high - found.mean == pytest.approx(half)
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
    assert accuracy(hits.astype(bool).tolist()).high == 1.0  # an accuracy ends at 1


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
    with pytest.raises(SpecError, match="allowed are one or more seeds by two or more images"):
        accuracy(hits)  # type: ignore[arg-type]


def test_pairs_need_the_same_seeds_and_images() -> None:
    with pytest.raises(SpecError, match="same seeds"):
        difference([[True, False]], [[True, False, True]])


def test_what_an_interval_counts_is_said() -> None:
    assert "images only" in counted(1) and "the seeds and the images" in counted(2)
