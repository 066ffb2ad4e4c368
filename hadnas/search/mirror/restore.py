"""Repair of MLflow: closes runs that dead workers left open, writes lost runs again.

MLflow mirrors the database and the ledger, so a lost store loses no result.
"""

from collections.abc import Callable, Collection
from contextlib import closing

import optuna

from hadnas.measure.figures import TABLE
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.search.job import Outcome, training_key
from hadnas.search.mirror.candidates import Mirror, mirror_finals, mirror_of
from hadnas.search.mirror.overview import Overview, overview_of
from hadnas.store.database import clear_errors
from hadnas.store.home import Home, score_of
from hadnas.store.trials import RUN_ID, baseline_entries, draw_of, note_baseline, note_run
from hadnas.track import keys
from hadnas.track.runs import Tracker, store_errors
from hadnas.train.score import load_score


def end_stale_runs(book: optuna.Study, tracker: Tracker, at_work: Collection[str]) -> None:
    """Close the open runs without a worker; `at_work` are the items of living workers, read before.

    For one process at a time. A run is stored with its trial or baseline only after it was opened: until then it
    belongs to the living worker at that item.
    """
    open_runs = tracker.runs("RUNNING")
    noted = {
        str(trial.number): (f"draw {draw_of(trial)}", trial.user_attrs) for trial in book.get_trials(deepcopy=False)
    }
    baselines = {name: (f"baseline {name}", entry) for name, entry in baseline_entries(book).items()}
    for run in open_runs:
        number = run.data.tags.get(keys.TRIAL_NUMBER)
        item, attributes = (noted if number is not None else baselines).get(number or run.info.run_name, ("", {}))
        if item not in at_work or attributes.get(RUN_ID) not in (None, run.info.run_id):
            tracker.end_stale(run)


def restore(name: str, home: Home) -> None:
    """Write what MLflow lacks of a study, as after the home was moved or `mlflow.db` was deleted.

    Raises StudyError if blocks of the study are not imported here.
    """
    results = StudyResults(name, home)
    results.check_blocks()
    with closing(results.ledger), clear_errors(home.url), store_errors(home.tracking_uri):
        tracker = Tracker(home.tracking_uri, home.artifacts, name)
        try:
            rewrite(overview_of(results, tracker), say=lambda name: None)
        finally:
            tracker.leave()


def rewrite(overview: Overview, say: Callable[[str], None]) -> None:
    """Open a study's overview and, if MLflow lacks any of the study, write it again; runs deleted in the UI stay so.

    That is a new run for every finished trial, baseline and final that lost its own; `say(name)` is called before each.
    """
    results, tracker = overview.results, overview.tracker
    with tracker.alone():
        overview.open()
        if tracker.is_whole:
            return
        mirror, known = mirror_of(results, tracker), tracker.run_ids(deleted=True)
        for found in (*results.baselines, *results.found):
            if (
                found.run_id is not None
                and found.run_id not in known
                and found.state in ("complete", "pruned", "stopped")
            ):
                say(found.name)
                _write(results, mirror, found)
        mirror_finals(results, tracker)
    overview.close()
    tracker.set_whole()


def _write(results: StudyResults, mirror: Mirror, found: Found) -> None:
    assert found.arch is not None  # every candidate with a run has an architecture
    trained = [figure.name for figure in TABLE.values() if figure.source == "training"]  # curves in MLflow
    costs = {name: value for name, value in found.figures.items() if name not in trained}
    outcome = Outcome(figures=costs, notes=found.notes, latency=results.latency(found), rung=found.rung)
    outcome.reused = bool(found.notes.get("reused"))
    if found.notes.get("weights") is not None:
        outcome.training = results.training(found)
    elif "train" in found.phases:  # it failed in training, or was stopped
        outcome.training = results.ledger.training(
            training_key(results.study, results.task(), results.stored["digest"], results.plan(found))
        )
    kind = "baseline" if found.number is None else "trial"
    device = {"device": found.notes["device"]} if "device" in found.notes else {}  # earlier versions stored none
    run_id = mirror.start(found.number, kind, found.name, found.arch, {**device, **found.params})
    mirror.measured(run_id, found.name, results.plan(found), outcome)
    for backend, taken in results.latency_records(found).items():
        mirror.compared(run_id, backend, taken)
    if outcome.training is not None:
        if outcome.training.weights is not None:
            place = score_of(outcome.training, results.home, "val")
            outcome.score = load_score(place) if place.exists() else None
        mirror.trained(run_id, outcome, live=False)
    mirror.end(run_id, "FINISHED" if found.state == "complete" else "KILLED", found.reason)
    if found.number is None:
        note_baseline(results.book, found.name, {**baseline_entries(results.book)[found.name], RUN_ID: run_id})
    else:
        note_run(results.book, found.number, run_id)
