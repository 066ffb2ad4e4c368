"""What decisions had to do with accuracy in a study: importance of each, and of each family in each stage.

A sampler that learns draws what did well, so what it met is no random sample: a difference is then an association,
not an effect. Where the trials were drawn at random it is one; `Insight.adaptive` says which.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from math import sqrt
from statistics import fmean, variance

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from scipy import stats

from hadnas.arch.families import stage_counts
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.results.weights import network_of
from hadnas.samplers.sampler import samplers
from hadnas.train.data.images import spread
from hadnas.train.effects import ProductEffect, product_effects

FEWEST = 10
"""Trials below which nothing is said of a decision."""

EFFECT_IMAGES = 1024
"""Validation images, at most, on which products are looked at: each product costs a pass over them."""

FEWEST_IN_GROUP = 3
"""Trials with and without a family below which they are not compared."""

FEWEST_ALIKE = 2
"""The same for those with equally many blocks in the stage: each of these groups needs a variance."""


@dataclass(frozen=True)
class Importance:
    """A decision: how much it matters for being among the most accurate (PED-ANOVA; 0 is not at all), on `n` trials.

    best: the option with the highest mean validation accuracy, `mean` over `times` trials.
    """

    decision: str
    value: float
    n: int
    best: str
    mean: float
    times: int


@dataclass(frozen=True)
class Difference:
    """Mean validation accuracy of trials with a family in a stage minus those without, with Welch's 95 % interval.

    Trials are compared that have equally many blocks in the stage, and these differences averaged by their trials: a
    longer stage is the likelier to hold a family. `family` is that of blocks or, as `hadamard merge`, of merges.
    """

    stage: int
    family: str
    mean: float
    low: float
    high: float
    n_with: int
    n_without: int


@dataclass(frozen=True)
class Insight:
    """What a study says of its decisions; `adaptive`: its sampler chose trials by what it had seen.

    missing: why there is nothing to say, else "".
    """

    importances: list[Importance]
    differences: list[Difference]
    adaptive: bool
    missing: str


def insight(results: StudyResults) -> Insight:
    """Importances, highest first, and differences by stage and family, over the study's distinct architectures.

    A decision counts where it was taken in at least FEWEST trials and not always the same way; a conditional one is
    compared among the trials that took it. Source of the importance: Watanabe et al., "PED-ANOVA", 2023,
    arXiv 2304.10255, as Optuna has it.
    """
    found = results.distinct
    missing = ""
    if len(found) < FEWEST:
        missing = f"{len(found)} architectures were trained; decisions are compared from {FEWEST} on"
    importances = [] if missing else _importances(found)
    differences = [] if missing else family_differences(found)
    if not missing and not importances:
        missing = "every trial took every decision the same way"
    adaptive = samplers()[results.study.sampler].adaptive
    return Insight(importances, differences, adaptive, missing)


def _importances(found: list[Found]) -> list[Importance]:
    distributions = _distributions(found)
    out = []
    for decision, distribution in distributions.items():
        took = [each for each in found if decision in each.params]
        by_option: dict[object, list[float]] = defaultdict(list)
        for each in took:
            by_option[each.params[decision]].append(each.accuracy)
        if len(took) < FEWEST or len(by_option) < 2:
            continue
        # a study of this one decision: Optuna compares only trials that share all their parameters
        alone = optuna.create_study(direction="minimize")  # PED-ANOVA asks what leads to low values
        alone.add_trials(
            [
                optuna.trial.create_trial(
                    params={decision: each.params[decision]},
                    distributions={decision: distribution},
                    value=-each.accuracy,
                )
                for each in took
            ]
        )
        values = PedAnovaImportanceEvaluator().evaluate(alone, params=[decision])
        means = {option: sum(seen) / len(seen) for option, seen in by_option.items()}
        best = max(means, key=lambda option: means[option])
        out.append(Importance(decision, values[decision], len(took), str(best), means[best], len(by_option[best])))
    return sorted(out, key=lambda importance: -importance.value)


def _distributions(found: list[Found]) -> dict[str, optuna.distributions.BaseDistribution]:
    """Each decision with the values it took, in the order in which they were met."""
    seen: dict[str, dict[object, None]] = defaultdict(dict)
    for each in found:
        for decision, value in each.params.items():
            seen[decision][value] = None
    return {name: optuna.distributions.CategoricalDistribution(tuple(values)) for name, values in seen.items()}  # type: ignore[arg-type]


def family_differences(found: list[Found]) -> list[Difference]:
    """One for each family of each stage that enough trials have and enough have not."""
    alike = partial(defaultdict[int, tuple[list[float], list[float]]], lambda: ([], []))
    groups: dict[tuple[int, str], dict[int, tuple[list[float], list[float]]]] = defaultdict(alike)
    for each in found:
        assert each.arch is not None
        for stage, (node, counts) in enumerate(zip(each.arch.stages, stage_counts(each.arch), strict=True)):
            blocks = len(node["blocks"])
            for family, count in counts.items():
                groups[stage, family][blocks][0 if count else 1].append(each.accuracy)
    out = []
    for (stage, family), by_blocks in sorted(groups.items(), key=lambda item: item[0][0]):
        pairs = [pair for pair in by_blocks.values() if min(map(len, pair)) >= FEWEST_ALIKE]
        n_with, n_without = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
        if min(n_with, n_without) < FEWEST_IN_GROUP:
            continue
        mean, parts = 0.0, []  # of the variance, each with its degrees of freedom
        for pair in pairs:
            share = (len(pair[0]) + len(pair[1])) / (n_with + n_without)
            mean += share * (fmean(pair[0]) - fmean(pair[1]))
            parts += [(share**2 * variance(side) / len(side), len(side) - 1) for side in pair]
        total = sum(part for part, _ in parts)
        reach = 0.0
        if total:
            freedom = total**2 / sum(part**2 / own for part, own in parts)
            reach = float(stats.t.ppf(0.975, freedom)) * sqrt(total)
        out.append(Difference(stage, family, mean, mean - reach, mean + reach, n_with, n_without))
    return out


def effects(results: StudyResults, found: Found) -> list[ProductEffect]:
    """What each product of a trained trial does, on the validation images, 1,024 of them at most, evenly spaced.

    Raises DataError or StudyError where images or weights are not there any more, or are others.
    """
    val = results.data().val
    places = spread(EFFECT_IMAGES, len(val))
    images, labels = next(val.batches(len(places), order=places))
    return product_effects(network_of(results, found), images, labels, batch=results.study.recipe.evaluation_batch)
