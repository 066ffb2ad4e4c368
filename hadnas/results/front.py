"""What is best when several objectives count: the Pareto front.

Optuna keeps it behind its studies; the tables of a study also hold baselines, which are no Optuna trials, so here it
takes plain numbers. A direction is `maximize` or `minimize`, one per column.
"""

from collections.abc import Sequence

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
