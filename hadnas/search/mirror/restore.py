"""Repair of MLflow: closes runs that dead workers left open, writes lost runs again.

MLflow mirrors the database and the ledger, so a lost store loses no result.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from hadnas.measure.figures import TABLE
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.search.job import Outcome, training_key
from hadnas.search.mirror.candidates import Mirror, mirror_finals, mirror_of
from hadnas.search.mirror.overview import Overview, overview_of
from hadnas.store.database import clear_errors
from hadnas.store.home import Home, score_of
from hadnas.store.records import StoredLatency
from hadnas.store.trials import (
    RUN_ID,
    baseline_entries,
    is_behind,
    mark_behind,
    note_run,
    noted_run,
    trial_name,
    workers_at,
)
from hadnas.track import keys
from hadnas.track.failure import store_errors
from hadnas.track.names import TAG_LENGTH, clip, without_password
from hadnas.track.runs import Run, Tracker
from hadnas.train.score import load_score


@dataclass(frozen=True)
class OpenMirror:
    """A study that is open in MLflow.

    worker: the id of this worker, whose own runs count as left when they are looked for
    written, restored, closed: the candidates that MLflow lacked, those whose runs had been deleted, and the number of
        runs that were left open; until now
    """

    tracker: Tracker
    candidates: Mirror
    overview: Overview
    worker: str
    written: frozenset[str] = frozenset()
    restored: frozenset[str] = frozenset()
    closed: int = 0

    def compared(self, taken: Sequence[tuple[str, str, StoredLatency]]) -> None:
        """Log latencies on further backends, each by candidate and backend; runs deleted in the UI stay deleted."""
        if not taken:
            return
        known = self.tracker.run_ids()
        runs = {found.name: found.run_id for found in _finished(self.overview.results, self.worker)}
        for name, backend, latency in taken:
            if (run_id := runs.get(name)) in known:
                self.candidates.compared(str(run_id), backend, latency)

    def leave(self) -> None:
        """Put the study's run back as it was found; a killed search may have left it open."""
        self.tracker.leave(searched=bool(self.overview.results.ledger.worker.living()))

    def tidy(self) -> int:
        """Close the runs that dead workers left open; returns their number."""
        with self.tracker.alone():
            return _end_stale_runs(self.overview.results, self.tracker, self.worker)


def open_mirror(
    results: StudyResults,
    worker: str = "",
    breathe: Callable[[str], None] = lambda name: None,
    *,
    every: bool = False,
    undelete: bool = False,
    **settings: object,
) -> OpenMirror:
    """Open a study in MLflow and write what it lacks from the database: a new run for every candidate without one.

    A candidate of another living worker is left to it.

    worker: the id of this worker
    breathe: called before each candidate that is written, with its name
    every: compare every run; else only open and missing ones, unless MLflow is known to lack something
    undelete: restore the runs that were deleted in the UI
    settings: shown with those of the recipe
    """
    home, written, restored = results.home, set(), set()
    home.make_tracking_database()
    with home.schema_lock():
        tracker = Tracker(home.tracking_uri, home.artifacts, results.name)
    overview, mirror = overview_of(results, tracker), mirror_of(results, tracker, **settings)
    with tracker.alone(), home.repair_lock():
        overview.open()
        every = every or not tracker.is_whole or is_behind(results.book)
        runs = {str(run.info.run_id): run for run in (tracker.search("", "ALL") if every else tracker.runs("RUNNING"))}
        for found in _finished(results, worker):
            run = runs.get(found.run_id or "")
            if run is not None and run.info.lifecycle_stage == "deleted":
                if undelete:
                    tracker.client.restore_run(run.info.run_id)
                    restored.add(found.name)
            elif run is not None and _is_whole(run, found):
                _add_latencies(results, mirror, found, run)
            elif run is not None or every or found.run_id is None:
                breathe(found.name)
                _write(results, mirror, found)
                written.add(found.name)
                if run is not None:  # written in part
                    tracker.delete(run.info.run_id)
        closed = _end_stale_runs(results, tracker, worker)
        if every:
            mirror_finals(results, tracker)
    if every:
        breathe("")
        overview.close()
        tracker.set_whole()
        mark_behind(results.book, False)
    return OpenMirror(tracker, mirror, overview, worker, frozenset(written), frozenset(restored), closed)


def without_mlflow(results: StudyResults) -> str:
    """A sentence for a study whose store in MLflow cannot be used."""
    return (
        f"MLflow cannot be used at {without_password(results.home.tracking_uri)}; the study goes on without it, and "
        f"its runs are written when MLflow answers again, or by `hadnas sync {results.name}`"
    )


def restore(
    name: str, home: Home, say: Callable[[str], None] = lambda name: None, *, undelete: bool = False
) -> OpenMirror:
    """Write what MLflow lacks of a study, as after the home was moved or `mlflow.db` was deleted.

    `say(name)` is called before each candidate. Raises StudyError if blocks of the study are not imported here, or if
    MLflow cannot be used.
    """
    results = StudyResults(name, home)
    results.check_blocks()
    with closing(results.ledger), clear_errors(home.url), store_errors(home.tracking_uri):
        mirror = open_mirror(results, breathe=say, every=True, undelete=undelete)
        mirror.leave()
    return mirror


def unwritten(results: StudyResults, runs: Sequence[Run]) -> list[str]:
    """The finished candidates whose run is not among those of MLflow, deleted ones included, or not whole."""
    known = {str(run.info.run_id): run for run in runs}
    found = [(each, known.get(each.run_id or "")) for each in _finished(results, "")]
    gone = "deleted"  # in the UI
    return [
        each.name
        for each, run in found
        if run is None or not (run.info.lifecycle_stage == gone or _is_whole(run, each))
    ]


def _finished(results: StudyResults, worker: str) -> list[Found]:
    """The finished candidates, except those of other living workers, which have them in their queues."""
    results.refresh()
    at, living = workers_at(results.book), results.ledger.worker.living() - {worker}
    return [
        found
        for found in (*results.baselines, *results.found)
        if found.state in ("complete", "pruned", "stopped") and found.arch and at.get(found.name) not in living
    ]


def _is_whole(run: Run, found: Found) -> bool:
    """Whether a run was written to its end, which is the last that is written."""
    end = "FINISHED" if found.state == "complete" else "KILLED"
    reason = clip(found.reason, TAG_LENGTH) if found.reason else None
    return bool(run.info.status == end and run.data.tags.get(keys.REASON) == reason)


def _add_latencies(results: StudyResults, mirror: Mirror, found: Found, run: Run) -> None:
    """Log latencies on further backends that a run lacks."""
    for backend, taken in results.latency_records(found).items():
        if f"{keys.LATENCY}.{backend}" not in run.data.tags:
            mirror.compared(run.info.run_id, backend, taken)


def _end_stale_runs(results: StudyResults, tracker: Tracker, worker: str) -> int:
    """Close the runs that dead workers left open; for one process at a time. Returns their number."""
    left = stale_runs(results, tracker.runs("RUNNING"), worker)
    for run in left:
        tracker.end_stale(run)
    return len(left)


def stale_runs(results: StudyResults, open_runs: Sequence[Run], worker: str = "") -> list[Run]:
    """Those of the open runs that no other living worker writes, or that are of its earlier attempts.

    The runs are read before, so that none of a new worker is among them. A run is noted after it was opened: until
    then it belongs to the worker at its candidate.
    """
    book, living = results.book, results.ledger.worker.living() - {worker}
    at, attributes = workers_at(book), book.user_attrs
    noted = {trial_name(trial.number): trial.user_attrs.get(RUN_ID) for trial in book.get_trials(deepcopy=False)}
    noted |= {name: noted_run(attributes, name) for name in baseline_entries(book)}
    stale = []
    for run in open_runs:
        number = run.data.tags.get(keys.TRIAL_NUMBER)
        name = run.info.run_name if number is None else trial_name(int(number))
        if run.data.tags.get(keys.KIND) == "study" and living:
            continue
        if at.get(name) not in living or noted.get(name) not in (None, run.info.run_id):
            stale.append(run)
    return stale


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
    note_run(results.book, found.name if found.number is None else found.number, run_id)
