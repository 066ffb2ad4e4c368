"""The trainings of a study as its rungs see them, read from the database as it is now."""

import math
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from hadnas.measure.figures import VAL
from hadnas.measure.front import pareto_front
from hadnas.samplers.rungs import Course, stops
from hadnas.store.ledger import Ledger
from hadnas.store.records import CurvePoint, TrainingKey
from hadnas.store.study import Study
from hadnas.store.trials import FIGURES, FINGERPRINT, NOTES, Trials, trial_name
from hadnas.train.trainer import Epoch

_COSTS = ("macs", "params")
"""Figures by which, with the curve, a metric is predicted."""


def reason_to_stop(
    study: Study,
    key: TrainingKey,
    trials: Trials,
    ledger: Ledger,
    figures: Mapping[str, float],
    curve: Sequence[Epoch],
) -> str:
    """Why a candidate's training stops after the last epoch of its curve, or "": it goes on.

    Only the study's own complete trials count. `figures` are those known before the training.
    """
    finished = _finished(study, key, trials.all(), ledger)
    figure = study.metric_figure
    course, place = _course(study, {**figures, figure: math.nan}, curve), study.objectives.index(figure)
    found = stops(course, [*finished.values()], study.directions, place)
    if found is None:
        return ""
    reached = [*course.figures]
    reached[place] = found.optimistic(study.directions[place])
    ahead = [
        name for name, other in finished.items() if pareto_front([other.figures, reached], study.directions) == [0]
    ]
    better = max if study.directions[place] == "maximize" else min
    best = better(ahead, key=lambda name: finished[name].figures[place])
    rest = " and ".join(name for name in study.objectives if name != figure)
    return (
        f"stopped after epoch {len(curve)} of {study.recipe.epochs}: predicted {figure} {found.mean:.4f} ± "
        f"{found.std:.4f}; {best} has {finished[best].figures[place]:.4f}"
        + (f" and is no worse in {rest}" if rest else "")
    )


def _finished(study: Study, key: TrainingKey, trials: Sequence[FrozenTrial], ledger: Ledger) -> dict[str, Course]:
    """Name of a trial -> its course, of complete trials, the first of each architecture."""
    curves, metric = ledger.curves(key), study.metric_figure.removeprefix(VAL)
    found: dict[str, Course] = {}
    seen: set[str] = set()
    for trial in trials:
        fingerprint = trial.user_attrs.get(FINGERPRINT, "")
        if trial.state != TrialState.COMPLETE or fingerprint in seen:
            continue
        seen.add(fingerprint)
        curve = curves.get((fingerprint, trial.user_attrs[NOTES].get("code", "")), [])
        known = all(metric in point.metrics for point in curve)  # before version 6 the accuracy alone
        if len(curve) == study.recipe.epochs and known:
            found[trial_name(trial.number)] = _course(study, trial.user_attrs[FIGURES], curve)
    return found


def _course(study: Study, figures: Mapping[str, float], curve: Sequence[Epoch | CurvePoint]) -> Course:
    metric = study.metric_figure.removeprefix(VAL)
    points = [(_number(point.train_loss), _number(point.val_loss), point.metrics[metric]) for point in curve]
    costs = [math.log10(max(1.0, figures[name])) for name in _COSTS]
    return Course(points, costs, [figures[name] for name in study.objectives])


def _number(value: float | None) -> float:
    assert value is not None  # a training with a loss that is not finite has failed
    return value
