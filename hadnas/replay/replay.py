"""A search whose trainings are looked up: the draws are those of a study, and a known network costs nothing again."""

import itertools
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from optuna import logging
from optuna.trial import FrozenTrial, TrialState, create_trial

from hadnas.measure.front import hypervolume, pareto_front
from hadnas.samplers.draw import draw_from
from hadnas.samplers.problem import Problem
from hadnas.samplers.sampler import make_sampler

BARREN = 50
"""Draws in a row without a new network after which a search ends, as a study does."""


class Benchmark(Protocol):
    """Networks whose figures are known, by the key of their prospects.

    trained   the figures of the objectives that one training gives; `seed` is that of the search
    judged    the figures by which a choice is judged: means over all trainings, or a test split's
    reference of hypervolume by the judged figures
    best      the best that can be reached: a figure with one objective, else a hypervolume
    """

    @property
    def problem(self) -> Problem: ...
    @property
    def reference(self) -> Sequence[float]: ...
    @property
    def best(self) -> float: ...
    def trained(self, key: object, seed: int) -> Sequence[float]: ...
    def judged(self, key: object) -> Sequence[float]: ...


@dataclass(frozen=True)
class Contender:
    """A sampler by name, with options that differ from its defaults."""

    sampler: str
    options: Mapping[str, Any] = field(default_factory=dict)


def replay(benchmark: Benchmark, contender: Contender, seed: int, budgets: Sequence[int]) -> list[float]:
    """The score at each budget, in new trainings, of one search: see `score`.

    Where the search ends before a budget, as no new network is drawn, its last score stands.
    """
    problem = benchmark.problem
    seeded = make_sampler(contender.sampler, seed, contender.options, problem)
    history: list[FrozenTrial] = []
    done: dict[object, Sequence[float]] = {}
    scores: dict[int, float] = {}
    barren = 0
    for draw in itertools.count():
        if len(done) >= max(budgets) or barren >= BARREN:
            break
        drawn = draw_from(problem.space, seeded(draw), problem.directions, history)
        prospect = problem.describe(drawn.answers, drawn.node)
        barren += 1
        if prospect is not None and prospect.key not in done:
            done[prospect.key] = benchmark.trained(prospect.key, seed)
            barren = 0
            if len(done) in budgets:
                scores[len(done)] = score(benchmark, done)
        history.append(
            create_trial(
                state=TrialState.PRUNED if prospect is None else TrialState.COMPLETE,
                values=None if prospect is None else done[prospect.key],
                params=drawn.answers,
                distributions=drawn.distributions,
                constraints={"allowed": float(prospect is None)},
                system_attrs=drawn.kept,
            )
        )
    return [scores[budget] if budget in scores else score(benchmark, done) for budget in budgets]


def score(benchmark: Benchmark, done: Mapping[object, Sequence[float]]) -> float:
    """What a search reached: it chooses by the figures that it saw, and is judged by others.

    With one objective the judged figure of the best; with several the hypervolume of the front's judged figures, as a
    share of the best possible.
    """
    directions = benchmark.problem.directions
    keys = list(done)
    chosen = [keys[row] for row in pareto_front([done[key] for key in keys], directions)]
    judged = [benchmark.judged(key) for key in chosen]
    if len(directions) == 1:
        return float(np.mean(judged))
    return hypervolume(judged, directions, benchmark.reference) / benchmark.best


_benchmark: Benchmark | None = None


def _start(benchmark: Benchmark) -> None:
    """In a process of its own: take the benchmark once, not with every search."""
    global _benchmark
    _benchmark = benchmark
    logging.set_verbosity(logging.ERROR)


def _search(contender: Contender, seed: int, budgets: Sequence[int]) -> list[float]:
    assert _benchmark is not None
    return replay(_benchmark, contender, seed, budgets)


def replays(
    benchmark: Benchmark, contenders: Sequence[Contender], seeds: int, budgets: Sequence[int], processes: int
) -> Iterator[tuple[Contender, int, list[float]]]:
    """Every contender with every seed, in so many processes: (contender, seed, score at each budget), in order."""
    for contender in contenders:  # an unfit one is refused before the first search
        make_sampler(contender.sampler, 0, contender.options, benchmark.problem)
    tasks = [(contender, seed) for seed in range(seeds) for contender in contenders]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_start, initargs=(benchmark,)) as pool:
        found = pool.map(_search, *zip(*((*task, budgets) for task in tasks), strict=True))
        for task, scores in zip(tasks, found, strict=True):
            yield *task, scores


@dataclass(frozen=True)
class Summary:
    """Scores of one contender at one budget over the seeds.

    low, high   95 % bootstrap interval of the mean
    lead        mean minus that of the first contender, with its standard error `lead_error`
    """

    mean: float
    error: float
    low: float
    high: float
    lead: float
    lead_error: float


def summary(scores: Sequence[float], first: Sequence[float]) -> Summary:
    """The summary of `scores`, one a seed, beside those of the first contender."""
    values, others = np.array(scores), np.array(first)
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    error, other = (float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan") for x in (values, others))
    lead = float(values.mean() - others.mean())
    return Summary(float(values.mean()), error, float(low), float(high), lead, float(np.hypot(error, other)))
