"""MLflow written anew from the database and the ledger, where its store was thrown away: it is a mirror."""

from collections.abc import Callable
from contextlib import closing

from hadnas.hosts.host import Plan
from hadnas.measure.figures import TABLE
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.search.job import Outcome
from hadnas.search.mirror import Mirror
from hadnas.store.records import TrainingKey
from hadnas.store.trials import RUN_ID, baseline_entries, note_baseline, note_run


def rewrite(
    results: StudyResults, mirror: Mirror, key: Callable[[Plan], TrainingKey], say: Callable[[str], None]
) -> None:
    """Give every finished trial and baseline whose run is gone another one; one deleted in the UI stays deleted.

    `key` names the training of a candidate in the study; `say(name)` comes before each. Closes the ledger.
    """
    known = mirror.tracker.run_ids(deleted=True)
    with closing(results.ledger):
        for found in (*results.baselines, *results.found):
            if found.run_id is not None and found.run_id not in known and found.state in ("complete", "pruned"):
                say(found.name)
                _write(results, mirror, key, found)


def _write(results: StudyResults, mirror: Mirror, key: Callable[[Plan], TrainingKey], found: Found) -> None:
    assert found.arch is not None  # what had a run had an architecture
    trained = [figure.name for figure in TABLE.values() if figure.source == "training"]  # in MLflow a curve
    costs = {name: value for name, value in found.figures.items() if name not in trained}
    outcome = Outcome(figures=costs, notes=found.notes, latency=results.latency(found))
    outcome.reused = bool(found.notes.get("reused"))
    if found.notes.get("weights") is not None:
        outcome.training = results.training(found)
    elif "train" in found.phases:  # it failed in training
        outcome.training = results.ledger.training(key(results.plan(found)))
    kind = "baseline" if found.number is None else "trial"
    run_id = mirror.start(found.number, kind, found.name, found.arch, found.params)
    mirror.measured(run_id, found.name, results.plan(found), outcome)
    for backend, taken in results.taken(found).items():
        mirror.compared(run_id, backend, taken)
    if outcome.training is not None:
        mirror.trained(run_id, outcome, live=False)
    mirror.end(run_id, "FINISHED" if found.state == "complete" else "KILLED", found.reason)
    if found.number is None:
        note_baseline(results.book, found.name, {**baseline_entries(results.book)[found.name], RUN_ID: run_id})
    else:
        note_run(results.book, found.number, run_id)
