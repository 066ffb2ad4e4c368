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

from hadnas.errors import SpecError, at
from hadnas.measure.front import hypervolume, pareto_front
from hadnas.plain import from_json
from hadnas.samplers.draw import draw_from
from hadnas.samplers.problem import Problem
from hadnas.samplers.sampler import make_sampler

MAX_BARREN = 50
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
    """A sampler by name, with options that differ from its defaults; `label` in tables."""

    label: str
    sampler: str
    options: Mapping[str, Any] = field(default_factory=dict)


def contender(text: str) -> Contender:
    """The contender that "surrogate,pool=600" names. Raises SpecError."""
    name, *settings = text.split(",")
    options: dict[str, Any] = {}
    for setting in settings:
        option, equals, value = setting.partition("=")
        if not equals:
            raise SpecError(f"sampler {text!r}: found {setting!r}; allowed is NAME,option=value")
        with at(f"sampler {text!r}"):
            options[option] = from_json(value.lower() if value in ("True", "False") else value)
    return Contender(text, name, options)


@dataclass(frozen=True)
class Search:
    """One search: score at each budget, in new trainings."""

    contender: Contender
    seed: int
    scores: Mapping[int, float]


def replay_search(benchmark: Benchmark, contender: Contender, seed: int, budgets: Sequence[int]) -> Search:
    """One search, scored at each budget as `score` says.

    Where it ends before a budget, as no new network is drawn, its last score stands.
    """
    logging.set_verbosity(logging.ERROR)  # each draw has a study, which Optuna would announce
    problem = benchmark.problem
    seeded = make_sampler(contender.sampler, seed, contender.options, problem)
    history: list[FrozenTrial] = []
    done: dict[object, Sequence[float]] = {}
    scores: dict[int, float] = {}
    barren = 0
    for draw in itertools.count():
        if len(done) >= max(budgets) or barren >= MAX_BARREN:
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
    last = score(benchmark, done)
    return Search(contender, seed, {budget: scores.get(budget, last) for budget in budgets})


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


def replays(
    benchmark: Benchmark, contenders: Sequence[Contender], seeds: int, budgets: Sequence[int], processes: int = 1
) -> Iterator[Search]:
    """Every contender with every seed, in so many processes, in order.

    Raises UnknownName or SpecError for a contender that does not fit, before the first search.
    """
    for contender in contenders:
        make_sampler(contender.sampler, 0, contender.options, benchmark.problem)
    assert np.isfinite(benchmark.best)  # worked out once, here
    tasks = [(contender, seed, budgets) for seed in range(seeds) for contender in contenders]
    if processes == 1:
        return (replay_search(benchmark, *task) for task in tasks)
    return _searches(benchmark, tasks, processes)


def _searches(
    benchmark: Benchmark, tasks: Sequence[tuple[Contender, int, Sequence[int]]], processes: int
) -> Iterator[Search]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _start, (benchmark,)) as pool:
        yield from pool.map(_search, *zip(*tasks, strict=True))


_benchmark: Benchmark | None = None
"""In a process of a pool, which gets it once and not with every search."""


def _start(benchmark: Benchmark) -> None:
    global _benchmark
    _benchmark = benchmark


def _search(contender: Contender, seed: int, budgets: Sequence[int]) -> Search:
    assert _benchmark is not None
    return replay_search(_benchmark, contender, seed, budgets)
