"""Whether a training goes on past a rung, an epoch at which it may be stopped.

A ridge regression predicts the last epoch's accuracy from the curve so far and the costs of the network, fitted to the
trainings of the same recipe that came to their end. Curve and costs together rank better than any of them alone: on
HadaBench (n = 648), after 2 of 8 epochs, the rank correlation with the last accuracy is .92 from 20 such trainings, .87
of the accuracy so far, .89 of the sum of training losses, .85 of the MACs (tests/bench/hadabench_facts.py). A training
is stopped if even an accuracy that it will hardly exceed would leave it dominated. Nothing is compared across rungs: a
stopped training has no accuracy. A study with another metric predicts that metric in place of the accuracy.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hadnas.errors import SpecError
from hadnas.measure.figures import Direction
from hadnas.measure.front import Array, pareto_front

MIN_FINISHED = 8
"""Trainings that come to their end before any is stopped."""

RIDGE = 1.0
"""Penalty on the weights of standardised columns: one training weighs as much."""

OPTIMISM = 1.28
"""Standard errors above the prediction: the accuracy that a training exceeds one time in ten."""


def check_rungs(rungs: Sequence[int], epochs: int) -> None:
    """Raises SpecError unless rungs increase, from 1 to the epoch before the last."""
    if rungs and any(low >= high for low, high in itertools.pairwise([0, *rungs, epochs])):
        allowed = f"increasing epochs from 1 to {epochs - 1}" if epochs > 1 else "rungs only with 2 epochs or more"
        raise SpecError(f"rungs = {list(rungs)} with epochs = {epochs}; allowed are {allowed}")


@dataclass(frozen=True)
class Course:
    """A training as far as it came.

    curve    (training loss, validation loss, validation accuracy) after each epoch
    costs    of the network, on a logarithmic scale; the same ones for all
    figures  its objectives; the accuracy of one that has not ended is not read
    """

    curve: Sequence[tuple[float, float, float]]
    costs: Sequence[float]
    figures: Sequence[float]


@dataclass(frozen=True)
class Prediction:
    """The accuracy after the last epoch: mean and standard error."""

    mean: float
    std: float

    def optimistic(self, direction: Direction) -> float:
        """The accuracy that it exceeds one time in ten, or the error below which it falls."""
        return self.mean + (OPTIMISM if direction == "maximize" else -OPTIMISM) * self.std


def prediction(course: Course, finished: Sequence[Course]) -> Prediction:
    """The last accuracy of `course`, by trainings that came to their end.

    The standard error is that of leave-one-out predictions, larger for a training unlike the others.
    """
    epoch = len(course.curve)
    known = np.array([_columns(other, epoch) for other in finished])
    reached = np.array([other.curve[-1][2] for other in finished])
    mean, spread = known.mean(axis=0), known.std(axis=0)
    spread[spread == 0] = 1
    rows = np.column_stack([np.ones(len(known)), (known - mean) / spread])
    row = np.concatenate([[1.0], (_columns(course, epoch) - mean) / spread])
    penalty = RIDGE * np.eye(rows.shape[1])
    penalty[0, 0] = 0  # the mean is free
    inverse = np.linalg.inv(rows.T @ rows + penalty)
    weights = inverse @ rows.T @ reached
    errors = (reached - rows @ weights) / (1 - np.einsum("ij,jk,ik->i", rows, inverse, rows))
    return Prediction(float(row @ weights), float(np.sqrt(np.mean(errors**2) * (1 + row @ inverse @ row))))


def stops(
    course: Course, finished: Sequence[Course], directions: Sequence[Direction], accuracy: int
) -> Prediction | None:
    """The prediction by which a training is stopped, or None: it goes on. `accuracy`: its place among the objectives.

    A training goes on as long as fewer than MIN_FINISHED have come to their end.
    """
    if len(finished) < MIN_FINISHED:
        return None
    found = prediction(course, finished)
    figures = [*course.figures]
    figures[accuracy] = found.optimistic(directions[accuracy])
    front = pareto_front([*(other.figures for other in finished), figures], directions)
    return None if len(finished) in front else found


def _columns(course: Course, epoch: int) -> Array:
    curve = course.curve[:epoch]
    return np.array([curve[-1][2], curve[-1][1], sum(point[0] for point in curve), *course.costs])
