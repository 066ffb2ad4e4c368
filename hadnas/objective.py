"""For a user's objective in plain Optuna: suggests the architecture of a trial, and logs the trial to MLflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.exceptions import TrialPruned
from optuna.study import StudyDirection
from optuna.trial import Trial

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.errors import HadnasError, SpecError
from hadnas.hosts.build import build_plan
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.measure.figures import TABLE, values
from hadnas.samplers.draw import optuna_pick
from hadnas.search.job import Outcome
from hadnas.search.mirror.candidates import Mirror
from hadnas.space import Params, resolve
from hadnas.space.data import as_data, from_data
from hadnas.store.home import Home
from hadnas.store.trials import trial_name
from hadnas.track.failure import store_errors
from hadnas.track.runs import Tracker
from hadnas.track.view import set_view


def suggest(trial: Trial, space: Mapping[str, Any], task: Task) -> Arch:
    """The architecture of a trial: Optuna's sampler chooses every option of a search space.

    Prunes the trial with the reason if the draw breaks a rule of an op, or does not fit the task. Raises SpecError
    for a malformed space.
    """
    node = resolve(from_data(as_data(space)), optuna_pick(trial, Params()))
    try:
        return make_plan(node, task).arch
    except HadnasError as error:
        raise TrialPruned(str(error)) from error


def log_trial(
    trial: Trial, arch: Arch, task: Task, figures: Mapping[str, float], *, home: str | Path | None = None
) -> str:
    """Write a trial to MLflow as a search does, and return the id of its run: `hadnas ui` shows it.

    The run is in the experiment `hadnas/<name of the Optuna study>` and has the choices, the costs of the network, its
    tree, diagram, code and costs by module, and `figures`, such as {"val/iou": 0.81}. The first of them sorts the runs,
    by the direction of the study's first objective.
    Raises SpecError without figures, StudyError if MLflow cannot store them.
    """
    if not figures:
        raise SpecError("figures = {}; name at least one, such as {'val/iou': 0.81}")
    kept = Home(home)
    plan = make_plan(arch, task)
    counted = cost(build_plan(plan, device="meta"), *task.shapes)
    with store_errors(kept.tracking_uri):
        tracker = Tracker(kept.tracking_uri, kept.artifacts, trial.study.study_name)
        ours = [figure.name for figure in TABLE.values() if "view" in figure.places and figure.source == "cost"]
        set_view(tracker, [*figures, *ours], lowest_first=trial.study.directions[0] == StudyDirection.MINIMIZE)
        channels = task.shape[0]
        mirror = Mirror(tracker, ((0.0,) * channels, (1.0,) * channels), ())
        name = trial_name(trial.number)
        run_id = mirror.start(trial.number, "trial", name, arch, trial.params)
        found = Outcome(figures={**values("cost", counted), **figures}, counted=counted)
        mirror.measured(run_id, name, plan, found)
        mirror.end(run_id, "FINISHED")
        tracker.close()
    return run_id
