"""What is best when several objectives count: the Pareto front, its hypervolume, and how sure an accuracy is.

Optuna keeps these behind its studies; the tables of a study also hold baselines, which are no Optuna trials, so
here they take plain numbers. A direction is `maximize` or `minimize`, one per column.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from hadnas.errors import SpecError, unknown

Array = npt.NDArray[np.float64]


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """The rows that no other row dominates, as indices in their order.

    A row dominates another if it is nowhere worse and somewhere better. Equal rows stand or fall together; a row with
    a value that is not finite is never on the front.
    """
    losses = _losses(values, directions)
    finite = np.isfinite(losses).all(axis=1)
    front = []
    for index in np.flatnonzero(finite):
        others = losses[finite]
        dominates = (others <= losses[index]).all(axis=1) & (others < losses[index]).any(axis=1)
        if not dominates.any():
            front.append(int(index))
    return front


def hypervolume(values: Sequence[Sequence[float]], directions: Sequence[str], reference: Sequence[float]) -> float:
    """The volume between the front of `values` and `reference`, a point that is fixed before the study.

    Exact, in any number of dimensions; meant for fronts of up to some hundred points. Rows that are not better than the
    reference everywhere add nothing. Use the scale that counts (log10 of MACs), for values and reference alike.
    """
    front = [values[index] for index in pareto_front(values, directions)]
    corner = _losses([reference], directions)[0]
    if not np.isfinite(corner).all():
        raise SpecError(f"reference point {list(reference)!r}: expected finite numbers")
    gains = corner - _losses(front, directions)
    return _volume(gains[(gains > 0).all(axis=1)])


def wilson(accuracy: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of an accuracy seen on `n` samples: it holds near 0 and 1, where the normal one fails."""
    _check_accuracy(accuracy, n)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (accuracy + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(accuracy * (1 - accuracy) / n + (z / (2 * n)) ** 2)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def standard_error(accuracy: float, n: int) -> float:
    """The binomial standard error of an accuracy seen on `n` samples."""
    _check_accuracy(accuracy, n)
    return math.sqrt(accuracy * (1 - accuracy) / n)


def _check_accuracy(accuracy: float, n: int) -> None:
    if n < 1 or not 0 <= accuracy <= 1:
        raise SpecError(
            f"accuracy {accuracy!r} on {n!r} samples: expected a share between 0 and 1 of at least 1 sample"
        )


def _losses(values: Sequence[Sequence[float]], directions: Sequence[str]) -> Array:
    """The values as a matrix (rows, objectives) in which less is better."""
    for direction in directions:
        if direction not in ("maximize", "minimize"):
            raise unknown("direction", direction, ("maximize", "minimize"))
    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    for row in values:
        if len(row) != len(signs):
            raise SpecError(f"{len(row)} values in a row for {len(signs)} directions")
    losses: Array = np.array(values, dtype=np.float64).reshape(-1, len(signs)) * signs
    return losses


def _volume(gains: Array) -> float:
    """The volume of the union of the boxes between the origin and each row: slices along the last axis."""
    if not len(gains):
        return 0.0
    if gains.shape[1] == 1:
        return float(gains.max())
    gains = gains[np.argsort(-gains[:, -1], kind="stable")]
    heights = np.append(gains[:, -1], 0.0)
    thick = heights[:-1] - heights[1:]
    return float(sum(d * _volume(gains[: i + 1, :-1]) for i, d in enumerate(thick) if d > 0))
