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
from hadnas.samplers.rungs import Course, check_rungs, stops
from hadnas.samplers.sampler import make_sampler

MAX_BARREN = 50
"""Draws in a row without a new network after which a search ends, as a study does."""


class Benchmark(Protocol):
    """Networks whose figures are known, by the key of their prospects.

    trained   the figures of the objectives that one training gives; `seed` is that of the search
    judged    the figures by which a choice is judged: means over all trainings, or a test split's
    curve     (training loss, validation loss, validation accuracy) after each epoch of that training, for rungs; the
              last accuracy is the objective `accuracy`
    costs     of a network, on a logarithmic scale, for rungs
    work      of one epoch
    reference of hypervolume by the judged figures
    best      the best that can be reached: a figure with one objective, else a hypervolume
    epochs    of a whole training
    accuracy  the place of the accuracy among the objectives, for rungs
    """

    @property
    def problem(self) -> Problem: ...
    @property
    def reference(self) -> Sequence[float]: ...
    @property
    def best(self) -> float: ...
    @property
    def epochs(self) -> int: ...
    @property
    def accuracy(self) -> int: ...
    def trained(self, key: object, seed: int) -> Sequence[float]: ...
    def judged(self, key: object) -> Sequence[float]: ...
    def curve(self, key: object, seed: int) -> Sequence[tuple[float, float, float]]: ...
    def costs(self, key: object) -> Sequence[float]: ...
    def work(self, key: object) -> float: ...


@dataclass(frozen=True)
class Contender:
    """A sampler by name, with options that differ from its defaults; `label` in tables.

    rungs  epochs after which a training may be stopped
    """

    label: str
    sampler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rungs: tuple[int, ...] = ()


def contender(text: str) -> Contender:
    """The contender that "surrogate,pool=600,rungs=2+4" names. Raises SpecError."""
    name, *settings = text.split(",")
    options: dict[str, Any] = {}
    rungs: tuple[int, ...] = ()
    for setting in settings:
        option, equals, value = setting.partition("=")
        if not equals:
            raise SpecError(f"sampler {text!r}: found {setting!r}; allowed is NAME,option=value")
        if option == "rungs":
            if not all(part.isdecimal() and len(part) < 10 for part in value.split("+")):
                raise SpecError(f"sampler {text!r}: rungs = {value}; allowed are epochs such as 2+4")
            rungs = tuple(map(int, value.split("+")))
            continue
        with at(f"sampler {text!r}"):
            options[option] = from_json(value.lower() if value in ("True", "False") else value)
    return Contender(text, name, options, rungs)


@dataclass(frozen=True)
class Tried:
    """After a new network: `tried` so far, stopped ones included, work done, and the score reached."""

    tried: int
    work: float
    score: float


@dataclass(frozen=True)
class Search:
    """One search, step by step."""

    contender: Contender
    seed: int
    steps: Sequence[Tried]

    def at(self, tried: int) -> Tried:
        """Where the search was after so many networks; the last step of one that ended before."""
        return self.steps[min(tried, len(self.steps)) - 1]

    def work(self, score: float) -> float:
        """The work that it took to reach a score; infinite where it was not reached."""
        return next((step.work for step in self.steps if step.score >= score), float("inf"))


def replay_search(benchmark: Benchmark, contender: Contender, seed: int, budget: int) -> Search:
    """One search of at most `budget` networks, stopped ones included, scored after each as `score` says."""
    logging.set_verbosity(logging.ERROR)  # each draw has a study, which Optuna would announce
    problem = benchmark.problem
    seeded = make_sampler(contender.sampler, seed, contender.options, problem)
    history: list[FrozenTrial] = []
    done: dict[object, Sequence[float]] = {}
    stopped: set[object] = set()
    finished: list[Course] = []
    steps: list[Tried] = []
    work = 0.0
    barren = 0
    for draw in itertools.count():
        if len(steps) >= budget or barren >= MAX_BARREN:
            break
        drawn = draw_from(problem.space, seeded(draw), problem.directions, history)
        prospect = problem.describe(drawn.answers, drawn.node)
        key = None if prospect is None else prospect.key
        barren += 1
        if key is not None and key not in done and key not in stopped:
            barren = 0
            epochs, course = _trained(benchmark, contender.rungs, key, seed, finished)
            work += epochs * benchmark.work(key)
            if course is None:
                stopped.add(key)
            else:
                done[key] = course.figures
                finished.append(course)
            steps.append(Tried(len(steps) + 1, work, score(benchmark, done)))
        history.append(
            create_trial(
                state=TrialState.COMPLETE if key in done else TrialState.PRUNED,
                values=done.get(key),
                params=drawn.answers,
                distributions=drawn.distributions,
                constraints={"allowed": float(key is None)},
                system_attrs=drawn.kept,
            )
        )
    return Search(contender, seed, steps)


def _trained(
    benchmark: Benchmark, rungs: Sequence[int], key: object, seed: int, finished: Sequence[Course]
) -> tuple[int, Course | None]:
    """The epochs that a network is trained, and its training, or None where a rung stops it."""
    problem, figures = benchmark.problem, benchmark.trained(key, seed)
    if not rungs:
        return benchmark.epochs, Course((), (), figures)
    curve, costs = benchmark.curve(key, seed), benchmark.costs(key)
    for rung in rungs:
        if stops(Course(curve[:rung], costs, figures), finished, problem.directions, benchmark.accuracy):
            return rung, None
    return benchmark.epochs, Course(curve, costs, figures)


def score(benchmark: Benchmark, done: Mapping[object, Sequence[float]]) -> float:
    """What a search reached: it chooses by the figures that it saw, and is judged by others.

    With one objective the judged figure of the best; with several the hypervolume of the front's judged figures, as a
    share of the best possible.
    """
    directions = benchmark.problem.directions
    keys = list(done)
    if not keys:
        return 0.0 if len(directions) > 1 else float("nan")
    chosen = [keys[row] for row in pareto_front([done[key] for key in keys], directions)]
    judged = [benchmark.judged(key) for key in chosen]
    if len(directions) == 1:
        return float(np.mean(judged))
    return hypervolume(judged, directions, benchmark.reference) / benchmark.best


def replays(
    benchmark: Benchmark, contenders: Sequence[Contender], seeds: int, budget: int, processes: int = 1
) -> Iterator[Search]:
    """Every contender with every seed, in so many processes, in order.

    Raises UnknownName or SpecError for a contender that does not fit, before the first search.
    """
    for contender in contenders:
        make_sampler(contender.sampler, 0, contender.options, benchmark.problem)
        check_rungs(contender.rungs, benchmark.epochs)
        if contender.rungs:
            _ = benchmark.accuracy  # raises where the objectives have none
    if len(benchmark.problem.directions) > 1 and benchmark.best <= 0:  # worked out once, here
        raise SpecError(
            f"the best hypervolume of all networks is {benchmark.best:g}: no network is better than the "
            "reference point in every objective; allowed are objectives of which it is above 0"
        )
    tasks = [(contender, seed, budget) for seed in range(seeds) for contender in contenders]
    if processes == 1:
        return (replay_search(benchmark, *task) for task in tasks)
    return _searches(benchmark, tasks, processes)


def _searches(benchmark: Benchmark, tasks: Sequence[tuple[Contender, int, int]], processes: int) -> Iterator[Search]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _start, (benchmark,)) as pool:
        yield from pool.map(_search, *zip(*tasks, strict=True))


_benchmark: Benchmark | None = None
"""In a process of a pool, which gets it once and not with every search."""


def _start(benchmark: Benchmark) -> None:
    global _benchmark
    _benchmark = benchmark


def _search(contender: Contender, seed: int, budget: int) -> Search:
    assert _benchmark is not None
    return replay_search(_benchmark, contender, seed, budget)
