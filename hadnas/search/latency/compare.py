"""The Pareto front and the baselines, timed on every backend of a study when its search ends."""

import itertools
from collections.abc import Callable
from contextlib import closing
from typing import Any

from hadnas.errors import MeasurementError
from hadnas.measure.latency.latency import protocol, protocol_key
from hadnas.results.comparison import compared
from hadnas.results.table import StudyResults
from hadnas.search.evaluator import Evaluator
from hadnas.search.mirror.writer import Writer
from hadnas.store.home import Home
from hadnas.store.records import StoredLatency
from hadnas.store.study import Study
from hadnas.store.trials import REASON, note_latency


def backends(study: Study) -> tuple[str, ...]:
    """What the front is timed on: eager, the backend of the search, and the others; nothing where none is named."""
    if not study.backends:
        return ()
    return tuple(dict.fromkeys(("eager", *((study.latency,) if study.latency else ()), *study.backends)))


def compare(study: Study, home: Home, evaluator: Evaluator, writer: Writer, say: Callable[[str, str], None]) -> None:
    """Time the front and the baselines on every backend of the study; what is known is not taken again.

    A latency goes to the ledger, its protocol to the study, and both to MLflow, as `latency_ms.<backend>` and so on;
    `say(name, backend)` comes before each. What fails leaves its reason.
    """
    if not backends(study):
        return
    results = StudyResults(study.name, home)
    with closing(results.ledger):
        _compare(results, evaluator, writer, say)


def _compare(results: StudyResults, evaluator: Evaluator, writer: Writer, say: Callable[[str, str], None]) -> None:
    taken_now: list[tuple[str, str, StoredLatency]] = []
    for found, backend in itertools.product(compared(results), backends(results.study)):
        assert found.arch is not None
        plan = results.plan(found)
        key = protocol_key(protocol(*evaluator.task.shapes, device=evaluator.device, backend=backend))
        known = results.latencies(found).get(backend, {})
        if known.get("protocol") == key and REASON not in known:
            continue
        say(found.name, backend)
        entry: dict[str, Any] = {"protocol": key, "code": evaluator.key(plan).code}
        taken = None
        try:
            taken = evaluator.latency(plan, backend, writer.paused)
        except MeasurementError as error:
            entry[REASON] = str(error).partition("\n")[0]  # compilers add pages
        note_latency(results.book, found.arch.fingerprint, backend, entry)
        if taken is not None:
            taken_now.append((found.name, backend, taken))
    writer.add(lambda mirror: mirror.compared(taken_now))
