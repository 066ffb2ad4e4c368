"""Draws as rows of numbers: the squared distance of two rows counts the decisions in which the draws differ."""

from collections.abc import Sequence

import numpy as np

from hadnas.measure.front import Array
from hadnas.space import Categorical, Distribution, Params


def vectors(draws: Sequence[Params], distributions: dict[str, Distribution]) -> Array:
    """One row per draw; columns that are the same in all are left out.

    To the squared distance each decision adds 0 to 1: two labels that differ add 1, two ordered values the share of the
    range between them. A decision that only one of two draws has adds 1, one that neither has adds 0.
    """
    columns: list[Array] = []
    for name, distribution in distributions.items():
        values: Sequence[object] = distribution.values
        places = {value: place for place, value in enumerate(values)}
        found = np.array([places[draw[name]] if name in draw else -1 for draw in draws])
        absent = found < 0
        if isinstance(distribution, Categorical):
            columns += [(found == place) * 0.5**0.5 for place in range(-1, len(values))]
        else:
            steps = len(values) - 1
            columns += [np.where(absent, 0.5, found > place) / steps**0.5 for place in range(steps)]
            columns += [absent * (0.75 if steps else 1) ** 0.5]
    matrix = np.array(columns, dtype=np.float64).reshape(len(columns), len(draws))
    varied: Array = matrix[(matrix != matrix[:, :1]).any(axis=1)].T
    return varied


def squared_distances(left: Array, right: Array) -> Array:
    """Of rows (n, columns) and (m, columns), as (n, m)."""
    lengths = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1)
    squared: Array = np.clip(lengths - 2 * left @ right.T, 0, None)
    return squared
