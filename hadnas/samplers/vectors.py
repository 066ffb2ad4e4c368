"""Draws as rows of numbers, so that the distance of two rows counts the decisions in which the draws differ."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hadnas.space import Categorical, Distribution, Params

Array = npt.NDArray[np.float64]


def vectors(draws: Sequence[Params], distributions: dict[str, Distribution]) -> Array:
    """One row per draw, for the city-block distance: each decision adds 0 to 1 to it.

    Two labels differ by 1, two ordered values by the share of the range between them. A decision that only one of two
    draws has adds 1 if it is among labels, and 1/2 to 1 if it is among ordered values; one that neither has adds 0.
    """
    columns: list[Array] = []
    for name, distribution in distributions.items():
        values: Sequence[object] = distribution.values
        places = {value: place for place, value in enumerate(values)}
        found = np.array([places[draw[name]] if name in draw else -1 for draw in draws])
        present = found >= 0
        if isinstance(distribution, Categorical):
            columns += [(found == place) / 2 for place in range(-1, len(values))]
        else:
            columns += [np.where(present, found / max(len(values) - 1, 1), 0.5), present / 2]
    matrix: Array = np.array(columns, dtype=np.float64).reshape(len(columns), len(draws)).T
    return matrix[:, (matrix != matrix[:1]).any(axis=0)] if len(draws) else matrix
