"""The Pareto front of several objectives, and the hypervolume that it dominates, from plain numbers.

Optuna computes both for trials only; a study also compares baselines, which are no trials. A direction is `maximize` or
`minimize`, one per column.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hadnas.errors import SpecError, unknown

Array = npt.NDArray[np.float64]


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """The rows that no other row dominates, as indices in their order.

    A row dominates another if it is nowhere worse and somewhere better, so equal rows do not dominate each other. A row
    with a value that is not finite is never on the front.
    """
    losses = losses_of(values, directions)
    front: list[int] = []
    for index in np.lexsort(losses.T[::-1]):  # so a row comes after those that dominate it
        row, better = losses[index], losses[front]
        dominated = ((better <= row).all(axis=1) & (better < row).any(axis=1)).any()
        if np.isfinite(row).all() and not dominated:
            front.append(int(index))
    return sorted(front)


def reference_point(values: Sequence[Sequence[float]], directions: Sequence[str]) -> tuple[float, ...]:
    """The worst value of each column. Take rows that are known before a search, so that its results do not matter."""
    signs = _signs(directions)
    return tuple(float(worst) for worst in losses_of(values, directions).max(axis=0) * signs)


def hypervolume(values: Sequence[Sequence[float]], directions: Sequence[str], reference: Sequence[float]) -> float:
    """The volume between the front of the rows and the reference point; rows that are not better than it add nothing.

    By slices along the last objective (While et al., IEEE TEVC 10, 2006): exact, in n^(objectives - 1) slices.
    """
    (limit,) = losses_of([reference], directions)
    front = losses_of([values[row] for row in pareto_front(values, directions)], directions)
    return _volume(front[(front < limit).all(axis=1)], limit)


def _volume(losses: Array, limit: Array) -> float:
    if len(losses) == 0:
        return 0.0
    if len(limit) == 1:
        return float(limit[0] - losses.min())
    losses = losses[np.argsort(losses[:, -1], kind="stable")]
    depths = np.diff(losses[:, -1], append=limit[-1])
    slices = [_volume(losses[: i + 1, :-1], limit[:-1]) for i in range(len(losses))]
    return float(depths @ np.array(slices))


def gains(points: Array, losses: Array, limit: Array) -> Array:
    """The gain in hypervolume of `losses` below `limit` from each point (points, objectives) alone.

    Less is better in every column, as in the result of `losses_of`.
    """
    total = np.zeros(len(points))
    for low, high in _free(losses, limit):
        total += np.clip(high - np.maximum(low, points), 0, None).prod(axis=1)
    return total


def _free(losses: Array, limit: Array) -> list[tuple[Array, Array]]:
    """Boxes, as lower and upper corner, that fill the region below `limit` that no row dominates."""
    if len(limit) == 1:
        return [(np.array([-np.inf]), np.minimum(limit, losses.min(axis=0, initial=np.inf)))]
    losses = losses[np.argsort(losses[:, -1], kind="stable")]
    cuts = np.concatenate([[-np.inf], np.minimum(losses[:, -1], limit[-1]), [limit[-1]]])
    return [
        (np.append(low, cuts[i]), np.append(high, cuts[i + 1]))
        for i in range(len(losses) + 1)
        if cuts[i] < cuts[i + 1]
        for low, high in _free(losses[:i, :-1], limit[:-1])
    ]


def losses_of(values: Sequence[Sequence[float]], directions: Sequence[str]) -> Array:
    """The values as a matrix (rows, objectives) in which less is better."""
    signs = _signs(directions)
    for row in values:
        if len(row) != len(signs):
            raise SpecError(f"{len(row)} values in a row; allowed are {len(signs)}, one per direction")
    losses: Array = np.array(values, dtype=np.float64).reshape(-1, len(signs)) * signs
    return losses


def _signs(directions: Sequence[str]) -> Array:
    for direction in directions:
        if direction not in ("maximize", "minimize"):
            raise unknown("direction", direction, ("maximize", "minimize"))
    return np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
