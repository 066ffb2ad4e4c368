"""Metrics equal independent computations, and their standard errors agree with formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from hadnas.errors import SpecError, UnknownName
from hadnas.measure.metrics.error import metric_error, standard_error
from hadnas.measure.metrics.metric import BINS, METRICS, find_metric, measured, missing, predictions


def drawn(n: int = 500, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a fair classifier, and the classes."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, classes, n)
    outputs = generator.normal(size=(n, classes)).astype(np.float32)
    outputs[np.arange(n), targets] += 1.5
    return predictions("classes", outputs), targets


def test_metrics_of_classes_follow_from_the_confusion_matrix_and_the_probabilities() -> None:
    predicted, targets = drawn()
    found = measured("classes", predicted, targets)
    counts = confusion_matrix(targets, predicted.argmax(1)).astype(float)
    hits, rows, columns, n = np.diag(counts), counts.sum(1), counts.sum(0), counts.sum()
    expected = (rows * columns).sum() / n**2
    order = np.argsort(-predicted, axis=1)
    assert found["accuracy"] == pytest.approx(hits.sum() / n)
    assert found["top5_accuracy"] == pytest.approx(
        np.mean([y in row[:5] for y, row in zip(targets, order, strict=True)])
    )
    assert found["balanced_accuracy"] == pytest.approx((hits / rows).mean())
    assert found["macro_f1"] == pytest.approx((2 * hits / (rows + columns)).mean())
    assert found["cohen_kappa"] == pytest.approx((hits.sum() / n - expected) / (1 - expected))
    pairs = [
        np.mean(predicted[targets == k, k][:, None] > predicted[targets != k, k]) for k in range(predicted.shape[1])
    ]
    assert found["macro_roc_auc"] == pytest.approx(np.mean(pairs))
    assert found["log_loss"] == pytest.approx(-np.log(predicted[np.arange(500), targets]).mean())


@pytest.mark.parametrize("classes", [2, 5])
def test_the_area_under_the_roc_curve_is_that_of_scikit_learn_with_ties_too(classes: int) -> None:
    predicted, targets = drawn(300, classes)
    tied = np.round(predicted, 1)
    tied[:, -1] = 1 - tied[:, :-1].sum(1)  # probabilities again
    area = METRICS["macro_roc_auc"].of
    for given in (predicted, tied):
        asked = given[:, 1] if classes == 2 else given
        assert area(given, targets) == pytest.approx(roc_auc_score(targets, asked, multi_class="ovr"), abs=1e-14)
        labels = (np.arange(classes) <= targets[:, None]).astype(np.float32)[:, 1:]
        assert area(given[:, 1:], labels) == pytest.approx(roc_auc_score(labels, given[:, 1:]), abs=1e-14)


def test_the_calibration_error_is_that_of_bins_counted_one_by_one() -> None:
    predicted, targets = drawn()
    total = 0.0
    for low in np.arange(BINS) / BINS:
        inside = [
            (row.max(), float(row.argmax() == y))
            for row, y in zip(predicted, targets, strict=True)
            if low <= row.max() < low + 1 / BINS or (row.max() == 1 and low + 1 / BINS >= 1)
        ]
        if inside:
            sure, right = np.mean(inside, axis=0)
            total += len(inside) / len(targets) * abs(sure - right)
    assert METRICS["calibration_error"].of(predicted, targets) == pytest.approx(total)
    perfect = np.eye(4)[np.arange(40) % 4]
    assert METRICS["calibration_error"].of(perfect, np.arange(40) % 4) == 0
    assert METRICS["calibration_error"].of(perfect, (np.arange(40) + 1) % 4) == 1


def test_metrics_of_labels_and_values_by_hand() -> None:
    labels, sure = (
        np.array([[1, 0], [0, 1], [1, 1], [0, 0]]),
        np.array([[0.9, 0.2], [0.6, 0.7], [0.8, 0.1], [0.3, 0.4]]),
    )
    found = measured("labels", sure, labels)
    assert found["subset_accuracy"] == 0.5  # the first and the last
    assert found["mean_average_precision"] == pytest.approx((1 + (1 + 2 / 4) / 2) / 2)
    assert found["macro_roc_auc"] == pytest.approx((1 + 2 / 4) / 2)
    assert found["macro_f1"] == pytest.approx((2 * 2 / (2 * 2 + 1) + 2 / 3) / 2)
    truth, guess = np.array([[0.0, 10.0], [2.0, 30.0], [4.0, 20.0]]), np.array([[1.0, 10.0], [2.0, 20.0], [2.0, 20.0]])
    found = measured("values", guess, truth)
    assert found["mean_absolute_error"] == pytest.approx((1 + 10 / 3) / 2)
    assert found["rmse"] == pytest.approx((math.sqrt(5 / 3) + math.sqrt(100 / 3)) / 2)
    assert found["r2"] == pytest.approx(((1 - 5 / 8) + (1 - 100 / 200)) / 2)


def test_what_images_do_not_define_is_left_out() -> None:
    predicted, targets = drawn(classes=7)
    present = targets != 3
    assert missing("classes", 7, targets) is None and missing("classes", 7, targets[present]) == 3
    known = measured("classes", predicted[present], targets[present])
    assert set(known) == {"accuracy", "top5_accuracy", "log_loss", "calibration_error"}
    assert "top5_accuracy" not in measured("classes", *drawn(classes=5))
    assert missing("labels", 2, np.array([[1, 0], [1, 1]])) == 0


def test_a_metric_that_does_not_fit_is_refused_with_those_that_do() -> None:
    with pytest.raises(UnknownName, match="balanced_accuracy"):
        find_metric("balanced_acuracy", "classes", 10)
    with pytest.raises(
        SpecError, match=r"'accuracy' does not fit a target of 3 labels; allowed are macro_f1, .*subset"
    ):
        find_metric("accuracy", "labels", 3)
    with pytest.raises(SpecError, match="'top5_accuracy' does not fit a target of 5 classes"):
        find_metric("top5_accuracy", "classes", 5)


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "mean_absolute_error"])
def test_the_bootstrap_agrees_with_the_formula(name: str) -> None:
    if METRICS[name].targets == ("values",):
        generator = np.random.default_rng(1)
        kind, targets = "values", generator.normal(size=(400, 1))
        predicted = targets + generator.normal(size=(400, 1))
    else:
        kind, (predicted, targets) = "classes", drawn(400, 3)
    by_formula = metric_error(METRICS[name], kind, predicted, targets)  # type: ignore[arg-type]
    resampled = replace(METRICS[name], each=None)
    by_bootstrap = metric_error(resampled, kind, predicted, targets)  # type: ignore[arg-type]
    assert by_bootstrap == pytest.approx(by_formula, rel=0.25)
    assert by_bootstrap == metric_error(resampled, kind, predicted, targets)  # type: ignore[arg-type]


def test_the_error_of_the_macro_f1_is_that_of_fresh_samples() -> None:
    """The bootstrap of one sample of 400 images against the deviation over 200 samples."""
    everything = drawn(80_000, 3)
    metric = METRICS["macro_f1"]
    values = [metric.of(everything[0][k::200], everything[1][k::200]) for k in range(200)]
    some = everything[0][:400], everything[1][:400]
    assert metric_error(metric, "classes", *some) == pytest.approx(np.std(values), rel=0.25)


def test_a_bootstrap_without_spread_is_not_certain() -> None:
    targets = np.repeat([0, 1], [50, 10])
    predicted = np.eye(2)[targets]
    found = metric_error(METRICS["balanced_accuracy"], "classes", predicted, targets)
    assert found == pytest.approx(standard_error(1.0, 60)) and found > 0


def test_every_metric_is_within_its_bounds() -> None:
    rng = np.random.default_rng(0)
    for metric in METRICS.values():
        low, high = metric.bounds
        for kind in metric.targets:
            values = rng.normal(size=(60, 6))
            targets = {"classes": np.arange(60) % 6, "labels": (values > 0).astype(int), "values": values}[kind]
            outputs = rng.normal(size=(60, 6))
            assert low <= metric.of(predictions(kind, outputs), targets) <= high
