"""The Pareto front, against brute force."""

import itertools

import numpy as np
import pytest

from hadnas.errors import SpecError, UnknownName
from hadnas.measure.front import gains, hypervolume, losses_of, pareto_front, reference_point

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


def test_bad_input_is_named():
    with pytest.raises(UnknownName, match="did you mean 'maximize'"):
        pareto_front([(1.0,)], ["maximise"])
    with pytest.raises(SpecError, match=r"2 values .*allowed are 1"):
        pareto_front([(1.0, 2.0)], ["maximize"])


@pytest.mark.parametrize("directions", [d for n in (1, 2, 3, 4) for d in itertools.product(WAYS, repeat=n)])
def test_hypervolume_and_gains_are_those_of_cells_counted_one_by_one(directions):
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 6, size=(7, len(directions))).astype(float)
    reference = [1.0 if d == "maximize" else 5.0 for d in directions]
    cells = np.array(list(itertools.product(np.arange(6) + 0.5, repeat=len(directions))))
    signs = np.array([1 if d == "maximize" else -1 for d in directions])

    def counted(found):
        inside = (cells * signs > np.array(reference) * signs).all(axis=1)
        return float((inside & (cells[:, None] * signs < found[None] * signs).all(axis=2).any(axis=1)).sum())

    assert hypervolume(rows.tolist(), directions, reference) == counted(rows)
    losses, (limit,) = losses_of(rows.tolist(), directions), losses_of([reference], directions)
    some = rng.integers(0, 6, size=(9, len(directions))).astype(float)
    expected = [counted(np.vstack([rows, row])) - counted(rows) for row in some]
    front = losses[pareto_front(rows.tolist(), directions)]
    assert gains(losses_of(some.tolist(), directions), front, limit).tolist() == expected


def test_hypervolume_of_nothing_is_0_and_the_reference_is_the_worst_of_each_column():
    assert hypervolume([], WAYS, (0.0, 1.0)) == hypervolume([(0.5, 2.0), (-1.0, 0.5)], WAYS, (0.0, 1.0)) == 0
    assert reference_point([(0.9, 10.0), (0.5, 3.0)], WAYS) == (0.5, 10.0)
