"""Scores of replayed searches, summed up over their seeds and as a CSV file."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hadnas.replay.replay import Search


@dataclass(frozen=True)
class Summary:
    """Scores of one contender at one budget, over n seeds.

    error       standard error of the mean
    low, high   95 % bootstrap interval of the mean
    lead        mean minus that of the first contender, with its standard error `lead_error`
    work        mean training work, as a share of the first contender's
    """

    label: str
    budget: int
    n: int
    mean: float
    error: float
    low: float
    high: float
    lead: float
    lead_error: float
    work: float


@dataclass(frozen=True)
class WorkShare:
    """Work of one contender to reach what the first one reached in the end, as a share of the first one's work.

    median, low, high  of the shares over the seeds, with a 95 % bootstrap interval; infinite where it was not reached
    missed             seeds that did not reach it
    """

    label: str
    n: int
    median: float
    low: float
    high: float
    missed: int


def shares(searches: Sequence[Search]) -> list[WorkShare]:
    """The share of each contender but the first, paired by seed."""
    labels = list(dict.fromkeys(search.contender.label for search in searches))
    ends = {search.seed: search.steps[-1] for search in searches if search.contender.label == labels[0]}
    found = []
    for label in labels[1:]:
        mine = [search for search in searches if search.contender.label == label]
        values = np.array([search.work(ends[search.seed].score) / ends[search.seed].work for search in mine])
        drawn = np.median(np.random.default_rng(0).choice(values, (2000, len(values))), axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
        missed = int(np.isinf(values).sum())
        found.append(WorkShare(label, len(values), float(np.median(values)), float(low), float(high), missed))
    return found


def summaries(searches: Sequence[Search], budgets: Sequence[int]) -> list[Summary]:
    """A summary of each contender at each budget, in order; standard errors of a single seed are NaN."""
    by_label: dict[str, list[Search]] = {}
    for search in searches:
        by_label.setdefault(search.contender.label, []).append(search)
    first = next(iter(by_label.values()))
    return [_summary(label, budget, mine, first) for budget in budgets for label, mine in by_label.items()]


def _summary(label: str, budget: int, mine: Sequence[Search], first: Sequence[Search]) -> Summary:
    values, others = (np.array([search.at(budget).score for search in some]) for some in (mine, first))
    work, whole = (np.mean([search.at(budget).work for search in some]) for some in (mine, first))
    means = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    error, other = (float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan") for x in (values, others))
    lead, lead_error = float(values.mean() - others.mean()), float(np.hypot(error, other))
    mean, share = float(values.mean()), float(work / whole)
    return Summary(label, budget, len(values), mean, error, float(low), float(high), lead, lead_error, share)


def write_scores(path: Path, searches: Sequence[Search]) -> None:
    """Write one row per search and network: sampler, seed, networks tried, work, score."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sampler", "seed", "tried", "work", "score"])
        for search in searches:
            for step in search.steps:
                writer.writerow([search.contender.label, search.seed, step.tried, step.work, step.score])
