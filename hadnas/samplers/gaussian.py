"""A Gaussian process over draws: predicts a figure from the decisions and the features of those that have it.

The covariance of two candidates is a sum of two squared exponentials, of their decisions (over labels, that is the
Hamming kernel) and of their features (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equations
2.22 to 2.30 and 4.9). Figures are replaced by normal scores of their ranks first: accuracies are skewed, and few
networks that do not train would set the scale.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.special import ndtri
from scipy.stats import rankdata

from hadnas.measure.front import Array
from hadnas.samplers.vectors import squared_distances

FITTED = 200
"""Candidates, spread over all, by which the scales are chosen: the time does not grow with the study."""

GRID = {
    "decisions": (0.25, 0.5, 1.0, 2.0, 4.0),
    "features": (0.5, 1.0, 2.0, 4.0),
    "share": (0.0, 0.25, 0.5, 0.75, 0.95),
    "noise": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
}
"""Scales over the mean distance, the share of the features in the covariance, and the variance of the noise."""

START_SCALES = {"decisions": 1.0, "features": 1.0, "share": 0.25, "noise": 0.03}


@dataclass(frozen=True)
class Scores:
    """Figures and their normal scores; `figures` gives the figure of a score, beyond the ends by the slope there."""

    values: Array
    scores: Array

    @classmethod
    def of(cls, figures: Array) -> "Scores":
        scores = ndtri((rankdata(figures) - 0.5) / len(figures))
        return cls(figures, scores)

    def figures(self, scores: Array) -> Array:
        """The figures (any shape) that stand at these scores."""
        order = np.argsort(self.scores, kind="stable")
        at, values = self.scores[order], self.values[order]
        found: Array = np.interp(scores, at, values)
        near = max(len(at) // 5, 1)
        for end, inner, beyond in ((-1, -1 - near, scores > at[-1]), (0, near, scores < at[0])):
            if abs(inner) <= len(at) - 1 + (inner < 0) and at[end] != at[inner]:
                slope = (values[end] - values[inner]) / (at[end] - at[inner])
                found = np.where(beyond, values[end] + slope * (scores - at[end]), found)
        return found


class Gaussian:
    """Fitted to `figures` (n) of candidates with decisions (n, columns) and features (n, numbers)."""

    def __init__(self, decisions: Array, features: Array, figures: Array) -> None:
        self.decisions, self.features = decisions, features
        self.scores = Scores.of(figures)
        y = self.scores.scores
        some = np.unique(np.linspace(0, len(y) - 1, min(len(y), FITTED)).astype(int))
        apart, unlike = self._distances(decisions, features)
        self._units = (max(apart.mean(), 1e-9), max(unlike.mean(), 1e-9))
        self.chosen = self._choose(apart[np.ix_(some, some)], unlike[np.ix_(some, some)], y[some])
        self._factor, self._scale = _factor(self._covariance(apart, unlike), self.chosen["noise"], y)
        self._weights = cho_solve((self._factor, True), y)

    def predict(self, decisions: Array, features: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the scores of further candidates, without the noise of a training."""
        covariance = self._covariance(*self._distances(decisions, features))
        explained = solve_triangular(self._factor, covariance.T, lower=True)
        rest = np.clip(1 - (explained**2).sum(axis=0), 1e-9, None)
        return covariance @ self._weights, np.sqrt(rest * self._scale)

    def _distances(self, decisions: Array, features: Array) -> tuple[Array, Array]:
        return squared_distances(decisions, self.decisions), squared_distances(features, self.features)

    def _covariance(self, apart: Array, unlike: Array, scales: dict[str, float] | None = None) -> Array:
        scales = scales or self.chosen
        share = scales["share"]
        near: Array = np.exp(-apart / (scales["decisions"] * self._units[0]))
        if share:
            near = (1 - share) * near + share * np.exp(-unlike / (scales["features"] * self._units[1]))
        return near

    def _choose(self, apart: Array, unlike: Array, y: Array) -> dict[str, float]:
        """Scales of the largest marginal likelihood, one after the other, twice."""
        best, chosen = -np.inf, dict(START_SCALES)
        for name, values in [*GRID.items(), *GRID.items()]:
            for value in values:
                trial = chosen | {name: value}
                factor, scale = _factor(self._covariance(apart, unlike, trial), trial["noise"], y)
                likelihood = -len(y) / 2 * np.log(scale) - np.log(np.diag(factor)).sum()
                if likelihood > best:
                    best, better = likelihood, trial
            chosen = better
        return chosen


def _factor(covariance: Array, noise: float, y: Array) -> tuple[Array, float]:
    """The Cholesky factor of the covariance with its noise, and the most likely variance of the scores."""
    factor = np.asarray(np.linalg.cholesky(covariance + noise * np.eye(len(y))), dtype=np.float64)
    whitened = solve_triangular(factor, y, lower=True)
    return factor, max(float(whitened @ whitened) / len(y), 1e-12)
