"""The sampler that predicts what is not known without training, and proposes what should raise the hypervolume most.

A draw is planned whole before its trial starts: of several hundred draws, random ones and mutants of the best so far,
the one of the largest expected gain (Emmerich, Giannakoglou and Naujoks, IEEE TEVC 10, 2006; with one objective, the
expected improvement). Known figures, such as MACs, enter as they are. Networks that were met are not proposed again.

Before there is anything to learn from, draws are spread over the first known figure that is minimised, so that small
networks, which cost little work, are among them.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hadnas.errors import SpecError
from hadnas.measure.front import Array, gains, pareto_front
from hadnas.samplers.gaussian import Gaussian
from hadnas.samplers.problem import Problem, Prospect
from hadnas.samplers.sampler import sampler
from hadnas.samplers.vectors import vectors
from hadnas.samplers.volume import Volume, volume
from hadnas.space import Params, draws, every, mutants

PARENTS = 10
"""Trials at least, from the front inwards, whose mutants are in the pool."""

FURTHER = 0.5
"""Chance that a mutant has one more decision changed."""

SPREAD = 64
"""Random draws of which one is chosen by its cost."""

MAX_LEARNED = 500
"""Trials, beside the parents, from which the surrogate learns: its covariance takes their square in memory."""

NODES = {0: 1, 1: 32, 2: 8}
"""Objectives to predict -> points of the Gauss-Hermite rule for each; 5 beyond."""


@dataclass(frozen=True)
class Candidate:
    """A draw with its prospect, and the figures of its trial if it was told."""

    answers: Params
    prospect: Prospect
    figures: tuple[float, ...] = ()


@sampler("surrogate", informed=True, most_objectives=4, n_startup_trials=10, pool=300, mutants=0.5)
class SurrogateSampler(BaseSampler):
    """Proposes by a Gaussian process and the known figures of a `Problem`; `seed` and the trials decide a draw.

    n_startup_trials  draws before the surrogate is asked: spread over the cost, or random where none is known
    pool              draws among which one is chosen
    mutants           their share that are mutants of the best trials; the others are random
    """

    def __init__(
        self, problem: Problem, seed: int = 0, n_startup_trials: int = 10, pool: int = 300, mutants: float = 0.5
    ) -> None:
        self.problem, self.seed = problem, seed
        self.n_startup_trials, self.pool, self.mutants = n_startup_trials, pool, mutants
        self._plans: dict[int, Params] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: the plan answers every decision by itself."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, as there is no relative search space."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Plan the draw."""
        directions = tuple(direction.name.lower() for direction in study.directions)
        if directions != self.problem.directions:
            raise SpecError(f"a study with directions {directions} for a problem with {self.problem.directions}")
        rng = random.Random(int(np.random.SeedSequence([self.seed, trial.number]).generate_state(1)[0]))
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        self._plans[trial.number] = self._plan(others, rng)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The planned answer. Raises SpecError for a decision that the problem's space does not have there."""
        plan = self._plans[trial.number]
        if param_name not in plan:
            raise SpecError(f"{param_name} is no decision of the planned draw; it has {', '.join(plan)}")
        return plan[param_name]

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget the plan."""
        self._plans.pop(trial.number, None)

    def _plan(self, trials: list[FrozenTrial], rng: random.Random) -> Params:
        met: set[object] = set()
        told: dict[object, Candidate] = {}
        pending: dict[object, Candidate] = {}
        for trial in sorted(trials, key=lambda trial: trial.datetime_complete or datetime.max):
            if (prospect := self._prospect(trial)) is None:
                continue
            met.add(prospect.key)
            if trial.state == TrialState.COMPLETE and np.isfinite(trial.values).all():
                told.setdefault(prospect.key, Candidate(trial.params, prospect, tuple(trial.values)))
            elif trial.state == TrialState.RUNNING:
                pending[prospect.key] = Candidate(trial.params, prospect)
        known = list(told.values())
        if len(told) + len(pending) < self.n_startup_trials or not known:
            first = list(itertools.islice(self._fresh(self._random(rng), met), SPREAD))
            return self._spread(first, len(met)).answers if first else self._any(rng)
        scale = volume(self.problem, [candidate.figures for candidate in known])
        parents = self._parents(known)
        pool = list(itertools.islice(self._fresh(self._draws(parents, rng), met), self.pool))
        if not pool:
            return self._any(rng)
        if len(known) > MAX_LEARNED:
            rest = [candidate for candidate in known if all(candidate is not parent for parent in parents)]
            known = parents + rest[:: -(-len(rest) // MAX_LEARNED)]
        waiting = [candidate for key, candidate in pending.items() if key not in told]
        return pool[int(np.argmax(self._gains(scale, known, waiting, pool)))].answers

    def _spread(self, first: list[Candidate], place: int) -> Candidate:
        """Of random draws, that of the cost at `place` of a van der Corput sequence, from the smallest cost onwards."""
        for name, direction in zip(self.problem.objectives, self.problem.directions, strict=True):
            costs = np.array([candidate.prospect.known.get(name, np.nan) for candidate in first])
            if direction == "minimize" and (costs > 0).all():
                low, high = np.log(costs.min()), np.log(costs.max())
                share = sum((place >> bit & 1) / 2 ** (bit + 1) for bit in range(place.bit_length()))
                return first[int(np.abs(np.log(costs) - (low + share * (high - low))).argmin())]
        return first[0]

    def _prospect(self, trial: FrozenTrial) -> Prospect | None:
        if trial.state in (TrialState.FAIL, TrialState.WAITING):
            return None
        try:
            return self.problem.prospect(trial.params)
        except SpecError:
            if trial.state == TrialState.RUNNING:  # in plain Optuna, another thread is still asking
                return None
            raise

    def _any(self, rng: random.Random) -> Params:
        """A draw of a space in which every network was met, or as good as every: the study ends itself."""
        answers, _ = next(draws(self.problem.space, rng))
        return answers

    def _fresh(self, draws: Iterator[tuple[Params, Any]], met: set[object]) -> Iterator[Candidate]:
        """Those of the draws that are allowed and new, each network once."""
        seen = set(met)
        for answers, node in draws:
            prospect = self.problem.describe(answers, node)
            if prospect is not None and prospect.key not in seen:
                seen.add(prospect.key)
                yield Candidate(answers, prospect)

    def _random(self, rng: random.Random) -> Iterator[tuple[Params, Any]]:
        """Random draws, or where there are few all of them."""
        if self.problem.size <= self.pool:
            few = list(every(self.problem.space))
            rng.shuffle(few)
            return iter(few)
        return itertools.islice(draws(self.problem.space, rng), 10 * self.pool)

    def _draws(self, parents: list[Candidate], rng: random.Random) -> Iterator[tuple[Params, Any]]:
        """Mutants of the parents in turn, then random draws."""
        if self.problem.size <= self.pool:
            return self._random(rng)
        mutated = [mutants(self.problem.space, parent.answers, rng, FURTHER) for parent in parents]
        in_turn = (next(source) for source in itertools.cycle(mutated))
        return itertools.chain(itertools.islice(in_turn, round(self.pool * self.mutants)), self._random(rng))

    def _parents(self, known: list[Candidate]) -> list[Candidate]:
        """The front, and the fronts behind it until there are enough."""
        parents: list[Candidate] = []
        rest = known
        while rest and len(parents) < PARENTS:
            front = set(pareto_front([candidate.figures for candidate in rest], self.problem.directions))
            parents += [candidate for i, candidate in enumerate(rest) if i in front]
            rest = [candidate for i, candidate in enumerate(rest) if i not in front]
        return parents

    def _gains(self, scale: Volume, known: list[Candidate], pending: list[Candidate], pool: list[Candidate]) -> Array:
        """The expected gain in hypervolume of each in the pool; those at work count as they are predicted."""
        ahead, names = pending + pool, self.problem.objectives
        told = scale.losses(np.array([candidate.figures for candidate in known]))
        costs = scale.losses(np.array([[c.prospect.known.get(name, np.nan) for name in names] for c in ahead]))
        mean, points, chances = self._predicted(known, ahead, told, costs)
        met = np.concatenate([told, mean[: len(pending)]])
        front = met[pareto_front(met.tolist(), ["minimize"] * met.shape[1])]
        points = points[len(pending) :].reshape(-1, met.shape[1])
        found: Array = gains(points, front, scale.limit).reshape(len(pool), -1) @ chances
        return found

    def _predicted(
        self, known: list[Candidate], ahead: list[Candidate], told: Array, costs: Array
    ) -> tuple[Array, Array, Array]:
        """Losses of those ahead, given those `told` of the known ones.

        Returns their means (ahead, objectives), the points of a quadrature over what is not known (ahead, points,
        objectives), and the weights of the points. `costs` (ahead, objectives) is NaN where a loss is not known.
        """
        candidates, n = known + ahead, len(known)
        decisions = vectors(
            [candidate.answers for candidate in candidates],
            self.problem.distributions(candidate.answers for candidate in candidates),
        )
        features = _columns([candidate.prospect.features for candidate in candidates])
        unknown = [int(i) for i in np.flatnonzero(np.isnan(costs).any(axis=0))]
        nodes, weights = hermegauss(NODES.get(len(unknown), 5))
        grid = np.array(list(itertools.product(nodes, repeat=len(unknown)))).reshape(len(nodes) ** len(unknown), -1)
        chances = np.array([np.prod(w) for w in itertools.product(weights, repeat=len(unknown))])
        figures = np.repeat(costs[:, None], len(grid), axis=1)
        means = costs.copy()
        for column, i in enumerate(unknown):
            model = Gaussian(decisions[:n], features[:n], told[:, i])
            mean, std = model.predict(decisions[n:], features[n:])
            means[:, i] = model.scores.figures(mean)
            figures[:, :, i] = model.scores.figures(mean[:, None] + std[:, None] * grid[None, :, column])
        return means, figures, chances


def _columns(features: Sequence[Mapping[str, float]]) -> Array:
    """Features as standardised columns; of a single column of zeros where there are none that differ."""
    names = sorted({name for found in features for name in found})
    matrix = np.array([[found.get(name, 0.0) for name in names] for found in features], dtype=np.float64)
    matrix = matrix.reshape(len(features), len(names))
    spread = matrix.std(axis=0)
    matrix = ((matrix - matrix.mean(axis=0)) / np.where(spread > 0, spread, 1))[:, spread > 0]
    return matrix if matrix.shape[1] else np.zeros((len(features), 1))
