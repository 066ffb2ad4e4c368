"""The table of metrics: what may be computed from a network's outputs and the targets of the images.

To add a metric, add an entry to `_METRICS`: every training then computes it after each epoch, a study may name it, and
the finals give its interval. The values are scikit-learn's own, but for two: the expected calibration error, which it
lacks, and the area under the ROC curve, which takes it 0.2 s for 10,000 images of 100 classes, and the bootstrap 20 s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

from hadnas.errors import SpecError, unknown
from hadnas.targets import TargetKind

if TYPE_CHECKING:  # numpy is heavy, and the options of the command line are made of this table
    from hadnas.measure.front import Array

Better = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """One metric of predictions (N, K) and targets, (N,) for classes and (N, K) for labels and values.

    Predictions are those of `predictions`: probabilities of classes or labels, values in the data's own units.

    direction  of better values
    targets    the kinds of targets that it is for
    about      its definition, in one line
    of         the metric of (predictions, targets)
    each       a score for each image, (N,), of which the metric is the mean; None if it is no such mean
    whole      whether it needs an image of every class, or two images that differ in each label or value
    least      the fewest classes, labels or values
    share      whether it is a share of images, from 0 to 1
    bounds     its least and largest value
    """

    name: str
    direction: Better
    targets: tuple[TargetKind, ...]
    about: str
    of: "Callable[[Array, Array], float]"
    each: "Callable[[Array, Array], Array] | None" = None
    whole: bool = False
    least: int = 1
    share: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)

    def text(self, value: float) -> str:
        """The value with four digits: after the point, or in all if it may be large."""
        return f"{value:.4f}" if self.direction == "maximize" or self.name == "calibration_error" else f"{value:.4g}"

    def fits(self, kind: TargetKind, outputs: int) -> bool:
        """Whether it is a metric of `outputs` classes, labels or values."""
        return kind in self.targets and outputs >= self.least


def predictions(kind: TargetKind, outputs: "Array") -> "Array":
    """What a network predicts by its outputs (N, K), float64: softmax for classes, sigmoid for labels, else as is."""
    import numpy as np
    from scipy.special import expit, softmax

    exact = outputs.astype(np.float64)
    if kind == "values":
        return exact
    found: Array = softmax(exact, axis=1) if kind == "classes" else expit(exact)
    return found


def measured(kind: TargetKind, predicted: "Array", targets: "Array") -> dict[str, float]:
    """Every metric of the target by name, without those that lack an image of a class or a varying label or value."""
    outputs = predicted.shape[1]
    whole = missing(kind, outputs, targets) is None
    fitting = [metric for metric in METRICS.values() if metric.fits(kind, outputs)]
    return {metric.name: metric.of(predicted, targets) for metric in fitting if whole or not metric.whole}


def missing(kind: TargetKind, outputs: int, targets: "Array") -> int | None:
    """The first class without an image, or label or value that is the same for all images; None if there is none."""
    import numpy as np

    constant = targets.min(0) == targets.max(0)
    lacking = np.bincount(targets, minlength=outputs) == 0 if kind == "classes" else constant
    return int(lacking.argmax()) if lacking.any() else None


def find_metric(name: str, kind: TargetKind, outputs: int) -> Metric:
    """The metric of that name. Raises UnknownName, and SpecError if it does not fit the target."""
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    if not METRICS[name].fits(kind, outputs):
        fitting = ", ".join(metric.name for metric in METRICS.values() if metric.fits(kind, outputs))
        raise SpecError(f"metric = {name!r} does not fit a target of {outputs} {kind}; allowed are {fitting}")
    return METRICS[name]


def _hits(predicted: "Array", targets: "Array") -> "Array":
    found: Array = predicted.argmax(1) == targets
    return found


def _accuracy(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(targets, predicted.argmax(1)))


def _top5_hits(predicted: "Array", targets: "Array") -> "Array":
    import numpy as np

    best = np.argsort(predicted, axis=1, kind="mergesort")[:, -5:]  # ties as in scikit-learn
    found: Array = (best == targets[:, None]).any(1)
    return found


def _top5(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import top_k_accuracy_score

    return float(top_k_accuracy_score(targets, predicted, k=5, labels=range(predicted.shape[1])))


def _balanced(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(targets, predicted.argmax(1)))


def _macro_f1(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import f1_score

    chosen = predicted.argmax(1) if targets.ndim == 1 else predicted > 0.5
    return float(f1_score(targets, chosen, average="macro", zero_division=0))


def _kappa(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(targets, predicted.argmax(1)))


def _macro_roc_auc(predicted: "Array", targets: "Array") -> float:
    import numpy as np

    classes = predicted.shape[1]
    truth = targets.T > 0 if targets.ndim > 1 else targets == np.arange(classes)[:, None]
    if targets.ndim == 1 and classes == 2:  # as scikit-learn: the probabilities of the second class alone
        truth, predicted = truth[1:], predicted[:, 1:]
    areas = [_area(own, scores) for own, scores in zip(truth, np.ascontiguousarray(predicted.T), strict=True)]
    return float(np.mean(areas))


def _area(positive: "Array", scores: "Array") -> float:
    """The area under the ROC curve: the share of pairs of a positive and a negative image in order; ties count half.

    Source: Hanley and McNeil, Radiology 143, 1982 (Mann and Whitney's U).
    """
    import numpy as np

    ordered, own = np.sort(scores), scores[positive]
    lower = np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right")
    n = len(own)
    return float((lower.sum() - n * n) / (2 * n * (len(scores) - n)))  # pairs of two positives are n * n / 2


def _log_loss(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import log_loss

    return float(log_loss(targets, predicted, labels=range(predicted.shape[1])))


def _surprise(predicted: "Array", targets: "Array") -> "Array":
    import numpy as np

    own = predicted[np.arange(len(targets)), targets]
    found: Array = -np.log(own.clip(np.finfo(np.float64).eps))  # as scikit-learn clips
    return found


BINS = 15


def _calibration_error(predicted: "Array", targets: "Array") -> float:
    import numpy as np

    sure = predicted.max(1)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, _hits(predicted, targets) - sure, BINS)
    return float(np.abs(gaps).sum() / len(targets))


def _mean_average_precision(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(targets, predicted, average="macro"))


def _subset_hits(predicted: "Array", targets: "Array") -> "Array":
    found: Array = ((predicted > 0.5) == targets).all(1)
    return found


def _subset_accuracy(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(targets, predicted > 0.5))


def _absolute_errors(predicted: "Array", targets: "Array") -> "Array":
    found: Array = abs(predicted - targets).mean(1)
    return found


def _mean_absolute_error(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(targets, predicted))


def _rmse(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(targets, predicted))


def _r2(predicted: "Array", targets: "Array") -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(targets, predicted))


# fmt: off
_METRICS = (
    Metric("accuracy", "maximize", ("classes",), "share of examples classified correctly",
           _accuracy, _hits, share=True),
    Metric("top5_accuracy", "maximize", ("classes",), "share of examples whose class is among the five most probable",
           _top5, _top5_hits, least=6, share=True),
    Metric("balanced_accuracy", "maximize", ("classes",), "mean over the classes of the share classified correctly",
           _balanced, whole=True),
    Metric("macro_f1", "maximize", ("classes", "labels"),
           "mean over classes or labels of F1; a label is predicted above a probability of 0.5",
           _macro_f1, whole=True),
    Metric("cohen_kappa", "maximize", ("classes",), "agreement of predicted and true classes beyond chance",
           _kappa, whole=True, bounds=(-1.0, 1.0)),
    Metric("macro_roc_auc", "maximize", ("classes", "labels"),
           "mean over classes or labels of the area under the ROC curve, each against the rest",
           _macro_roc_auc, whole=True),
    Metric("log_loss", "minimize", ("classes",), "mean negative logarithm of the probability of the true class",
           _log_loss, _surprise, bounds=(0.0, inf)),
    Metric("calibration_error", "minimize", ("classes",),
           f"expected calibration error: mean distance of confidence and accuracy in {BINS} bins of confidence",
           _calibration_error),
    Metric("mean_average_precision", "maximize", ("labels",),
           "mean over the labels of the area under the precision-recall curve, as average precision",
           _mean_average_precision, whole=True),
    Metric("subset_accuracy", "maximize", ("labels",), "share of examples with all labels predicted correctly",
           _subset_accuracy, _subset_hits, share=True),
    Metric("r2", "maximize", ("values",),
           "share of the variance that is explained, mean over the values; 0 for the constant mean",
           _r2, whole=True, bounds=(-inf, 1.0)),
    Metric("mean_absolute_error", "minimize", ("values",), "mean absolute error in the data's own units",
           _mean_absolute_error, _absolute_errors, bounds=(0.0, inf)),
    Metric("rmse", "minimize", ("values",), "root mean squared error in the data's own units, mean over the values",
           _rmse, bounds=(0.0, inf)),
)
# fmt: on

METRICS = {metric.name: metric for metric in _METRICS}
"""Every metric by its name."""

DEFAULT_METRIC: dict[TargetKind, str] = {"classes": "accuracy", "labels": "mean_average_precision", "values": "r2"}
"""The metric of a study that names none. R2, not an error in units: it averages values of different units fairly."""
