"""Rank correlations of scores without training with the metric of a study's trained architectures."""

import math
from dataclasses import dataclass

import torch

from hadnas.errors import MeasurementError, StudyError
from hadnas.hosts.build import build_seeded
from hadnas.inputs import Inputs
from hadnas.measure.figures import shown_in
from hadnas.measure.proxies import nwot, synflow
from hadnas.results.candidate import Found
from hadnas.results.statistics import Correlation, rank_correlation
from hadnas.results.table import StudyResults
from hadnas.source.trace import hash_of
from hadnas.train.data.images import evenly_spaced

COSTS = tuple(figure.name for figure in shown_in("proxies"))
SCORES = ("nwot", "synflow", *COSTS)

IMAGES = 64
"""Training images for nwot, evenly spaced; a batch if that is smaller."""


@dataclass(frozen=True)
class ScoreRanks:
    """Rank correlation of a score with the study's metric, over all architectures and over the best quarter.

    lacking: the number of architectures without the score (nwot needs an activation function), left out.
    """

    overall: Correlation
    quarter: Correlation
    lacking: int


def score_study(results: StudyResults) -> dict[str, ScoreRanks]:
    """Each of SCORES against the metric of a study's distinct trained architectures.

    nwot and synflow are computed at the initial weights of each training. The best quarter is the quarter of highest
    accuracy, rounded up. Raises StudyError if fewer than four were trained, or if the data or the code of the blocks
    have changed since.
    """
    results.check_blocks()
    ranked = results.ranked
    if len(ranked) < 4:
        raise StudyError(f"study {results.name!r} has {len(ranked)} trained architectures; a ranking needs four")
    data = results.data()
    some = evenly_spaced(min(IMAGES, results.study.recipe.batch), len(data.train))
    inputs, _ = next(data.train.batches(len(some), torch.device("cpu"), some))
    table = [_scores(found, results, inputs) for found in ranked]
    judged = [found.goodness for found in ranked]
    best = math.ceil(len(ranked) / 4)
    return {name: _score([row[name] for row in table], judged, best) for name in SCORES}


def _scores(found: Found, results: StudyResults, inputs: Inputs) -> dict[str, float | None]:
    plan = results.plan(found)
    if found.notes.get("code") != hash_of(plan.classes):
        raise StudyError(f"{found.name}: the code of its blocks has changed since it was trained; undo the change")
    scores: dict[str, float | None] = {name: found.figures[name] for name in COSTS}
    network = build_seeded(plan, results.study.seed)
    try:
        scores["nwot"] = nwot(network, inputs)
    except MeasurementError:
        scores["nwot"] = None
    flow = synflow(network, *results.task().shapes)
    return scores | {"synflow": None if math.isnan(flow) else flow}


def _score(values: list[float | None], judged: list[float], best: int) -> ScoreRanks:
    pairs = [(value, right) for value, right in zip(values, judged, strict=True) if value is not None]
    top = [(value, right) for value, right in zip(values[:best], judged[:best], strict=True) if value is not None]
    both = [rank_correlation([left for left, _ in some], [right for _, right in some]) for some in (pairs, top)]
    return ScoreRanks(both[0], both[1], len(values) - len(pairs))
