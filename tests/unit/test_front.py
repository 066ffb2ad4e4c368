"""The Pareto front, against brute force."""

import itertools

import numpy as np
import pytest

from hadnas.errors import SpecError, UnknownName
from hadnas.measure.front import pareto_front

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
    with pytest.raises(SpecError, match=r"2 values .*1 directions"):
        pareto_front([(1.0, 2.0)], ["maximize"])
