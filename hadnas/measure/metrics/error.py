"""The standard error of a metric over the images: a formula where there is one, else a bootstrap."""

import math
from collections.abc import Sequence

import numpy as np

from hadnas.measure.front import Array
from hadnas.measure.metrics.metric import Metric, missing
from hadnas.targets import TargetKind

RESAMPLES = 100
"""Bootstrap samples: the standard error that they give is within 15 % (two standard deviations)."""


def standard_error(share: float, n: int) -> float:
    """The standard error of a share of `n` images: the standard deviation of its Jeffreys posterior.

    With k hits the posterior is Beta(k + 1/2, n - k + 1/2). Its deviation is close to the binomial standard error,
    which would be 0 for 0 or n hits (Brown, Cai and DasGupta, Statistical Science 16, 2001).
    """
    right = (share * n + 0.5) / (n + 1)
    return math.sqrt(right * (1 - right) / (n + 2))


def metric_error(metric: Metric, kind: TargetKind, predicted: Array, targets: Array) -> float:
    """The standard error of a metric of predictions (N, K); NaN for a single image."""
    if metric.each is not None:
        scores = metric.each(predicted, targets)
        if metric.share:
            return standard_error(float(scores.mean()), len(scores))
        return float(scores.std(ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else math.nan
    drawn = resampled(metric, kind, [predicted], targets)
    error = float(drawn.std(ddof=1)) if len(drawn) > 1 else math.nan
    if error == 0 and metric.bounds == (0.0, 1.0):  # every class is all right or all wrong, so every sample is alike
        return standard_error(float(drawn[0]), len(targets))
    return error


def resampled(metric: Metric, kind: TargetKind, predicted: Sequence[Array], targets: Array, *, seed: int = 0) -> Array:
    """The mean of a metric over several networks on RESAMPLES bootstrap samples of the images, the same for all.

    Classes are resampled one by one, as splits are stratified. A sample in which a label or value is constant is left
    out if the metric is undefined there.
    """
    generator = np.random.default_rng(seed)
    strata = [np.flatnonzero(targets == one) for one in np.unique(targets)] if kind == "classes" else []
    strata = strata or [np.arange(len(targets))]
    found = []
    for _ in range(RESAMPLES):
        places = np.concatenate([generator.choice(stratum, len(stratum)) for stratum in strata])
        if not metric.whole or missing(kind, predicted[0].shape[1], targets[places]) is None:
            found.append(np.mean([metric.of(one[places], targets[places]) for one in predicted]))
    return np.array(found)
