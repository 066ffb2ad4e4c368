"""Scores of replayed searches, summed up over their seeds and as a CSV file."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hadnas.errors import StudyError
from hadnas.replay.replay import Search


@dataclass(frozen=True)
class Summary:
    """Scores of one contender at one budget, over n seeds.

    error       standard error of the mean
    low, high   95 % bootstrap interval of the mean
    lead        mean minus that of the first contender, with its standard error `lead_error`
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


def summaries(searches: Sequence[Search]) -> list[Summary]:
    """A summary of each contender at each budget, in order; standard errors of a single seed are NaN."""
    labels = list(dict.fromkeys(search.contender.label for search in searches))
    return [
        _summary(label, budget, _scores(searches, label, budget), _scores(searches, labels[0], budget))
        for budget in searches[0].scores
        for label in labels
    ]


def _scores(searches: Sequence[Search], label: str, budget: int) -> list[float]:
    return [search.scores[budget] for search in searches if search.contender.label == label]


def _summary(label: str, budget: int, scores: Sequence[float], first: Sequence[float]) -> Summary:
    values, others = np.array(scores), np.array(first)
    means = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    error, other = (float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan") for x in (values, others))
    mean, lead = float(values.mean()), float(values.mean() - others.mean())
    return Summary(
        label, budget, len(values), mean, error, float(low), float(high), lead, float(np.hypot(error, other))
    )


def new_file(path: Path, *, force: bool) -> None:
    """Make the file, empty. Raises StudyError where it exists and is not to be overwritten, or cannot be written."""
    try:
        path.open("w" if force else "x").close()
    except FileExistsError:
        raise StudyError(f"{path} exists already; name another file, or overwrite it with --force") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be written ({error.strerror})") from error


def write_scores(path: Path, searches: Sequence[Search]) -> None:
    """Write one row per search and budget: sampler, seed, trainings, score."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sampler", "seed", "trainings", "score"])
        for search in searches:
            for budget, score in search.scores.items():
                writer.writerow([search.contender.label, search.seed, budget, score])
