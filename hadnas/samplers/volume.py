"""The hypervolume of a search: the scale of its objectives and its reference point, the same wherever it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hadnas.measure.figures import Direction
from hadnas.measure.front import Array, hypervolume, losses_of
from hadnas.samplers.problem import Problem

FIRST = 10
"""Candidates, the first that finish, whose figures fix the scale and the reference point."""

BEYOND = 0.1
"""Share of the range by which the reference point lies beyond the worst of these figures."""

LEAST = 1e-3
"""On a logarithmic scale a figure counts at least as this share of the smallest of these figures: it may be 0."""


@dataclass(frozen=True)
class Volume:
    """Scale and reference point of figures (..., objectives).

    least  for each objective the smallest figure that is distinguished, or 0 for one on a linear scale
    limit  the reference point as losses
    """

    directions: tuple[Direction, ...]
    least: tuple[float, ...]
    limit: Array

    def losses(self, figures: Array) -> Array:
        """The figures on their scales, less is better; NaN remains NaN."""
        scaled = [
            np.log10(np.maximum(figures[..., place], least)) if least else figures[..., place]
            for place, least in enumerate(self.least)
        ]
        losses: Array = np.stack(scaled, axis=-1) * self._signs
        return losses

    def figures(self, losses: Array) -> Array:
        """The figures that have these losses."""
        scaled = losses * self._signs
        found = [10 ** scaled[..., place] if least else scaled[..., place] for place, least in enumerate(self.least)]
        figures: Array = np.stack(found, axis=-1)
        return figures

    def of(self, figures: Sequence[Sequence[float]]) -> float:
        """The hypervolume between these figures and the reference point; 0 for none."""
        rows = self.losses(np.array(figures, dtype=np.float64).reshape(-1, len(self.directions)))
        return hypervolume(rows.tolist(), ["minimize"] * len(self.directions), self.limit.tolist())

    @property
    def _signs(self) -> Array:
        signs: Array = losses_of([[1.0] * len(self.directions)], self.directions)[0]
        return signs


def volume(problem: Problem, finished: Sequence[Sequence[float]]) -> Volume:
    """The volume of a search whose candidates have these figures, in the order in which they `finished`; at least one.

    The first FIRST of them count, and the known figures of random draws of the space; where the problem names a
    reference point, that counts instead.
    """
    seen = np.array([*finished[:FIRST], *problem.known], dtype=np.float64)
    ratios = [name in problem.ratios for name in problem.objectives]
    least = np.where(ratios, np.clip(np.nanmin(seen, axis=0), 0, None) * LEAST, 0)
    scale = Volume(problem.directions, tuple(least.tolist()), np.zeros(len(least)))
    losses = scale.losses(seen)
    worst = np.nanmax(losses, axis=0)
    named = scale.losses(np.array([problem.reference.get(name, np.nan) for name in problem.objectives]))
    limit = np.where(np.isnan(named), worst + BEYOND * (worst - np.nanmin(losses, axis=0)), named)
    return Volume(problem.directions, scale.least, limit)
