"""The Pareto front, the hypervolume and the intervals, against brute force and scipy."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from hadnas.errors import SpecError, UnknownName
from hadnas.search.front import hypervolume, pareto_front, standard_error, wilson

WAYS = ("maximize", "minimize")


def better(a, b, directions):
    """By the definition, one pair at a time."""
    at_least = all(x >= y if d == "maximize" else x <= y for x, y, d in zip(a, b, directions, strict=True))
    return at_least and tuple(a) != tuple(b)


@pytest.mark.parametrize("directions", [d for n in (1, 2, 3) for d in itertools.product(WAYS, repeat=n)])
def test_front_is_what_no_row_dominates(directions):
    rows = np.random.default_rng(0).integers(0, 5, size=(40, len(directions))).tolist()
    expected = [i for i, row in enumerate(rows) if not any(better(other, row, directions) for other in rows)]
    assert pareto_front(rows, directions) == expected


def test_rows_that_are_not_finite_are_never_on_the_front():
    rows = [(0.9, 10.0), (float("nan"), 1.0), (float("inf"), 5.0), (0.8, 20.0)]
    assert pareto_front(rows, WAYS) == [0]


@pytest.mark.parametrize("directions", [d for n in (1, 2, 3) for d in itertools.product(WAYS, repeat=n)])
def test_hypervolume_counts_the_cells_that_a_row_covers(directions):
    size = 5
    rows = np.random.default_rng(1).integers(0, size + 2, size=(9, len(directions)))
    reference = [1 if d == "maximize" else size for d in directions]
    cells = 0  # unit cells between the reference and the far corner, by their centres
    for centre in itertools.product(*[np.arange(-2, size + 3) + 0.5] * len(directions)):
        beyond = all(c > r if d == "maximize" else c < r for c, r, d in zip(centre, reference, directions, strict=True))
        cells += beyond and any(better(row, centre, directions) for row in rows)
    assert hypervolume(rows.tolist(), directions, reference) == pytest.approx(cells)


def test_a_known_hypervolume():
    rows = [(0.9, 8.0), (0.8, 7.0), (0.7, 7.5), (0.5, 10.5)]  # accuracy, log10 MACs; the third is dominated
    assert hypervolume(rows, WAYS, (0.6, 10.0)) == pytest.approx(0.3 * 2 + 0.2 * 1)
    assert hypervolume([], WAYS, (0.6, 10.0)) == 0.0


@pytest.mark.parametrize("n", [1, 7, 360])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_equals_scipy(n, confidence):
    for hits in {0, 1, n // 2, n}:
        interval = binomtest(hits, n).proportion_ci(confidence, method="wilson")
        assert wilson(hits / n, n, confidence) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_standard_error_equals_that_of_many_draws():
    drawn = np.random.default_rng(2).binomial(50, 0.9, size=200_000) / 50
    assert standard_error(0.9, 50) == pytest.approx(drawn.std(), rel=0.01)


def test_bad_input_is_named():
    with pytest.raises(UnknownName, match="did you mean 'maximize'"):
        pareto_front([(1.0,)], ["maximise"])
    with pytest.raises(SpecError, match="2 values in a row for 1 directions"):
        pareto_front([(1.0, 2.0)], ["maximize"])
    with pytest.raises(SpecError, match="reference point"):
        hypervolume([(1.0,)], ["maximize"], [float("nan")])
    with pytest.raises(SpecError, match="1 sample"):
        wilson(0.5, 0)
    with pytest.raises(SpecError, match="between 0 and 1"):
        standard_error(97.5, 360)
