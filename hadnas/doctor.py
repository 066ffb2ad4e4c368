"""A home examined: its database, its files, and MLflow against the database; each fault with what mends it."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from hadnas.errors import HadnasError
from hadnas.results.table import StudyResults
from hadnas.search.mirror.restore import stale_runs, unwritten
from hadnas.store.database import shown
from hadnas.store.health.check import database_damage, left_items, orphans, weights_damage
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.records import Training
from hadnas.store.study_store import study_names
from hadnas.track.failure import STORE_ERRORS, reason_of
from hadnas.track.names import without_password
from hadnas.track.runs import quieten
from hadnas.track.store import known_runs

COPY = "bring it back from a copy"


@dataclass(frozen=True)
class Fault:
    """A fault of a home: in which place, what is wrong, and what mends it."""

    place: str
    wrong: str
    mend: str


def examine(home: Home) -> Iterator[Fault]:
    """The faults of a home; nothing is changed."""
    base = shown(home.url)
    try:
        if damage := database_damage(home.url):
            yield Fault(base, f"the database is damaged: {damage}", COPY)
            return
        ledger, names = Ledger(home.url), study_names(home)
    except HadnasError as error:
        yield Fault(base, str(error), f"{COPY}, or start the server")
        return
    with closing(ledger):
        try:
            trainings = ledger.trainings()
        except HadnasError as error:
            yield Fault(base, str(error), COPY)
            trainings = []
        for study, item in left_items(ledger):
            yield Fault(f"study {study}", f"{item} was left by a dead worker", f"hadnas search {study}")
        for sentence in weights_damage(trainings, home):
            yield Fault("weights", sentence, f"{COPY}; figures stay, but export and finals need it")
        for path in orphans(trainings, home):
            yield Fault("files", f"no training names {path}", "it may be deleted, unless a search runs")
    for name in names:
        yield from _study(name, home, trainings)


def _study(name: str, home: Home, trainings: Sequence[Training]) -> Iterator[Fault]:
    place = f"study {name}"
    try:
        results = StudyResults(name, home)
    except HadnasError as error:
        yield Fault(place, str(error), "search on under another --name")
        return
    with closing(results.ledger):
        for found in results.damaged:
            yield Fault(place, f"{found.name}: {found.reason}", f"{COPY}, or search on under another --name")
        yield from _trials(results, trainings)
        yield from _runs(results)


def _trials(results: StudyResults, trainings: Sequence[Training]) -> Iterator[Fault]:
    """The finished trials and baselines against their trainings in the ledger."""
    known = {training.weights: training for training in trainings if training.weights is not None}
    for found in (*results.found, *results.baselines):
        if found.state != "complete" or found.notes.get("weights") is None:
            continue
        training, metric = known.get(found.notes["weights"]), found.metric.removeprefix("val/")
        if training is None or training.state != "complete":
            yield Fault(f"study {results.name}", f"the ledger has no finished training of {found.name}", COPY)
        elif training.metrics.get(metric, found.value) != found.value:
            wrong = f"{found.name} has {found.metric} {found.value}, its training in the ledger "
            yield Fault(f"study {results.name}", f"{wrong}{training.metrics[metric]}", COPY)


def _runs(results: StudyResults) -> Iterator[Fault]:
    """MLflow against the database."""
    place = f"study {results.name}"
    quieten()
    try:
        runs, moved = known_runs(results.home.tracking_uri, results.home.artifacts, results.name)
        absent = unwritten(results, runs)
        active = [run for run in runs if run.info.lifecycle_stage == "active"]
        left = stale_runs(results, [run for run in active if run.info.status == "RUNNING"])
    except STORE_ERRORS as error:
        where = without_password(results.home.tracking_uri)
        wrong = f"MLflow cannot be used at {where}: {reason_of(error)}"
        yield Fault(place, wrong, f"start its server, or delete a damaged file; {_sync(results)}")
        return
    if moved:
        yield Fault(place, "the home was moved, and MLflow looks for files at its place before", _sync(results))
    if absent:
        yield Fault(place, f"MLflow lacks {len(absent)} candidates: {', '.join(absent[:5])}", _sync(results))
    if left:
        yield Fault(place, f"{len(left)} runs in MLflow were left open by dead workers", _sync(results))


def _sync(results: StudyResults) -> str:
    """The command that writes to MLflow what it lacks of a study."""
    return f"hadnas sync {results.name}"
