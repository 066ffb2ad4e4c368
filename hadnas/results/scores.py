"""Scores without training against trained accuracy: how well each would have ranked a study's architectures."""

import math
from dataclasses import dataclass

import torch

from hadnas.errors import MeasurementError, StudyError
from hadnas.hosts.build import build_seeded
from hadnas.measure.figures import shown_in
from hadnas.measure.proxies import nwot, synflow
from hadnas.results.candidate import Found
from hadnas.results.statistics import Correlation, rank_correlation
from hadnas.results.table import StudyResults
from hadnas.source.trace import hash_of
from hadnas.train.data.images import spread

COSTS = tuple(figure.name for figure in shown_in("proxies"))
SCORES = ("nwot", "synflow", *COSTS)

IMAGES = 64
"""Training images that nwot sees, evenly spaced, or a batch if that is less."""


@dataclass(frozen=True)
class Score:
    """Rank correlation of a score with validation accuracy, over all architectures and over the best quarter.

    lacking: architectures without the score (nwot needs an activation function), left out.
    """

    overall: Correlation
    quarter: Correlation
    lacking: int


def score_study(results: StudyResults) -> dict[str, Score]:
    """Each of SCORES against the validation accuracy of a study's distinct trained architectures.

    nwot and synflow are taken of the initial weights from which each was trained. The best quarter is the quarter of
    highest accuracy, rounded up. Raises StudyError where fewer than four were trained, where the data have changed
    since, or the code of the blocks.
    """
    results.check_blocks()
    ranked = results.ranked
    if len(ranked) < 4:
        raise StudyError(
            f"study {results.name!r} has {len(ranked)} trained architectures; four are needed to rank them"
        )
    data = results.data()
    some = spread(min(IMAGES, results.study.recipe.batch), len(data.train))
    images, _ = next(data.train.batches(len(some), torch.device("cpu"), some))
    table = [_scores(found, results, images) for found in ranked]
    accuracy = [found.accuracy for found in ranked]
    best = math.ceil(len(ranked) / 4)
    return {name: _score([row[name] for row in table], accuracy, best) for name in SCORES}


def _scores(found: Found, results: StudyResults, images: torch.Tensor) -> dict[str, float | None]:
    plan = results.plan(found)
    if found.notes.get("code") != hash_of(plan.classes):
        raise StudyError(f"{found.name}: the code of its blocks has changed since it was trained; undo the change")
    scores: dict[str, float | None] = {name: found.figures[name] for name in COSTS}
    network = build_seeded(plan, results.study.seed)
    try:
        scores["nwot"] = nwot(network, images)
    except MeasurementError:
        scores["nwot"] = None
    flow = synflow(network, results.task().shape)
    return scores | {"synflow": None if math.isnan(flow) else flow}


def _score(values: list[float | None], accuracy: list[float], best: int) -> Score:
    pairs = [(value, right) for value, right in zip(values, accuracy, strict=True) if value is not None]
    top = [(value, right) for value, right in zip(values[:best], accuracy[:best], strict=True) if value is not None]
    both = [rank_correlation([left for left, _ in some], [right for _, right in some]) for some in (pairs, top)]
    return Score(both[0], both[1], len(values) - len(pairs))
