"""How a study's decisions relate to its metric: their importances, and the difference of each family in each stage.

A sampler that learns prefers good options, so its trials are not a random sample: a difference is then an association,
not an effect. `Insight.adaptive` is true for such samplers.
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
from hadnas.measure.figures import TABLE, VAL
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.results.weights import network_of
from hadnas.samplers.sampler import samplers
from hadnas.train.data.images import evenly_spaced
from hadnas.train.data.spec import Data
from hadnas.train.effects import ProductEffect, product_effects

MIN_TRIALS = 10
"""The fewest trials for the importance of a decision."""

EFFECT_IMAGES = 1024
"""The most validation images for the effects of products: each product costs a pass over them."""

MIN_GROUP = 3
"""The fewest trials with, and without, a family for a comparison."""

MIN_SUBGROUP = 2
"""The same among trials with equally many blocks in the stage: a variance needs two."""


@dataclass(frozen=True)
class Importance:
    """The importance of a decision for a place among the most accurate (PED-ANOVA; 0 is none), over `n` trials.

    best: the option with the best mean metric on the validation images, `mean` over `times` trials.
    """

    decision: str
    value: float
    n: int
    best: str
    mean: float
    times: int


@dataclass(frozen=True)
class Difference:
    """Mean metric of trials with a family in a stage minus those without, with Welch's 95 % interval.

    Only trials with equally many blocks in the stage are compared, since a longer stage is more likely to have a
    family; these differences are averaged with their trials as weights. `family` is that of blocks or, as `hadamard
    merge`, of merges.
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
    """The importances and differences of a study; `adaptive`: its sampler learned from earlier trials.

    missing: the reason if there are no importances, else "".
    """

    importances: list[Importance]
    differences: list[Difference]
    adaptive: bool
    missing: str


def insight(results: StudyResults) -> Insight:
    """Importances, highest first, and differences by stage and family, over the study's distinct architectures.

    A decision needs at least MIN_TRIALS trials and two different options; a conditional one is compared among the
    trials that have it. Source of the importance: Watanabe et al., "PED-ANOVA", 2023, arXiv 2304.10255, as in Optuna.
    """
    found = results.distinct
    missing = ""
    if len(found) < MIN_TRIALS:
        missing = f"{len(found)} architectures were trained; a comparison of decisions needs {MIN_TRIALS}"
    importances = [] if missing else _importances(found)
    differences = [] if missing else family_differences(found)
    if not missing and not importances:
        missing = "no decision has two options in these trials"
    adaptive = samplers()[results.study.sampler].adaptive
    return Insight(importances, differences, adaptive, missing)


def _importances(found: list[Found]) -> list[Importance]:
    distributions = _distributions(found)
    out = []
    for decision, distribution in distributions.items():
        having = [each for each in found if decision in each.params]
        by_option: dict[object, list[float]] = defaultdict(list)
        for each in having:
            by_option[each.params[decision]].append(each.value)
        if len(having) < MIN_TRIALS or len(by_option) < 2:
            continue
        # A study of this decision only: Optuna compares only trials with the same parameters.
        single = optuna.create_study(direction="minimize")  # PED-ANOVA looks for low values
        single.add_trials(
            [
                optuna.trial.create_trial(
                    params={decision: each.params[decision]},
                    distributions={decision: distribution},
                    value=-each.goodness,
                )
                for each in having
            ]
        )
        values = PedAnovaImportanceEvaluator().evaluate(single, params=[decision])
        means = {option: sum(seen) / len(seen) for option, seen in by_option.items()}
        upward = TABLE[having[0].metric].direction == "maximize"
        best = (max if upward else min)(means, key=lambda option: means[option])
        out.append(Importance(decision, values[decision], len(having), str(best), means[best], len(by_option[best])))
    return sorted(out, key=lambda importance: -importance.value)


def _distributions(found: list[Found]) -> dict[str, optuna.distributions.BaseDistribution]:
    """Each decision with its values, in the order of their first trial."""
    seen: dict[str, dict[object, None]] = defaultdict(dict)
    for each in found:
        for decision, value in each.params.items():
            seen[decision][value] = None
    return {name: optuna.distributions.CategoricalDistribution(tuple(values)) for name, values in seen.items()}  # type: ignore[arg-type]


def family_differences(found: list[Found]) -> list[Difference]:
    """One difference for each family and stage with enough trials with and without the family."""
    by_length = partial(defaultdict[int, tuple[list[float], list[float]]], lambda: ([], []))
    # (stage, family) -> blocks in the stage -> metrics (with, without) the family
    groups: dict[tuple[int, str], dict[int, tuple[list[float], list[float]]]] = defaultdict(by_length)
    for each in found:
        assert each.arch is not None
        for stage, (node, counts) in enumerate(zip(each.arch.stages, stage_counts(each.arch), strict=True)):
            blocks = len(node["blocks"])
            for family, count in counts.items():
                groups[stage, family][blocks][0 if count else 1].append(each.value)
    out = []
    for (stage, family), by_blocks in sorted(groups.items(), key=lambda item: item[0][0]):
        pairs = [pair for pair in by_blocks.values() if min(map(len, pair)) >= MIN_SUBGROUP]
        n_with, n_without = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
        if min(n_with, n_without) < MIN_GROUP:
            continue
        mean, parts = 0.0, []  # parts of the variance, each with its degrees of freedom
        for pair in pairs:
            share = (len(pair[0]) + len(pair[1])) / (n_with + n_without)
            mean += share * (fmean(pair[0]) - fmean(pair[1]))
            parts += [(share**2 * variance(side) / len(side), len(side) - 1) for side in pair]
        total = sum(part for part, _ in parts)
        reach = 0.0
        if total:
            freedom = total**2 / sum(part**2 / df for part, df in parts)  # Welch-Satterthwaite
            reach = float(stats.t.ppf(0.975, freedom)) * sqrt(total)
        out.append(Difference(stage, family, mean, mean - reach, mean + reach, n_with, n_without))
    return out


def effects(results: StudyResults, found: Found, data: Data | None = None) -> list[ProductEffect]:
    """The effect of each product in a trained network, on EFFECT_IMAGES evenly spaced validation images.

    data: the study's images, if they were read already

    Raises DataError or StudyError if images or weights are missing or have changed.
    """
    val = (data or results.data()).val
    order = evenly_spaced(EFFECT_IMAGES, len(val))
    inputs, labels = next(val.batches(len(order), order=order))
    batch, metric = results.study.recipe.evaluation_batch, found.metric.removeprefix(VAL)
    network, target = network_of(results, found), results.task().target
    return product_effects(network, inputs, labels, batch=batch, target=target, metric=metric)
