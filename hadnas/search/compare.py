"""Latency by backend: the Pareto front and the baselines, timed when the search ends, and where their ranking changes.

Eager execution pays for every kernel that is launched; a compiler fuses element-wise chains. So the order of two
networks may depend on the backend, and a study that was searched by one may be used on another.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from hadnas.errors import MeasurementError
from hadnas.measure.latency.latency import protocol, protocol_key
from hadnas.measure.latency.pairs import NOISY
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.search.evaluator import Evaluator
from hadnas.search.timing import figures
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.store.trials import note_latency
from hadnas.track.runs import Tracker


def backends(study: Study) -> tuple[str, ...]:
    """What the front is timed on: eager, the backend of the search, and the others; nothing where none is named."""
    if not study.backends:
        return ()
    return tuple(dict.fromkeys(("eager", *((study.latency,) if study.latency else ()), *study.backends)))


def compare(study: Study, home: Home, evaluator: Evaluator, tracker: Tracker, say: Callable[[str, str], None]) -> None:
    """Time the front and the baselines on every backend of the study; what is known is not taken again.

    A latency goes to the ledger, its protocol to the study, and both to MLflow, as `latency_ms.<backend>` and so on;
    `say(name, backend)` comes before each. What fails leaves its reason.
    """
    if not backends(study):
        return
    results = StudyResults(study.name, home)
    with closing(results.ledger):
        _compare(results, evaluator, tracker, say)


def _compare(results: StudyResults, evaluator: Evaluator, tracker: Tracker, say: Callable[[str, str], None]) -> None:
    shown = tracker.run_ids()
    for found, backend in itertools.product(_compared(results), backends(results.study)):
        assert found.arch is not None and found.run_id is not None
        key = protocol_key(protocol(evaluator.task.shape, device=evaluator.device, backend=backend))
        known = results.latencies(found).get(backend, {})
        if known.get("protocol") == key and "reason" not in known:
            continue
        say(found.name, backend)
        entry: dict[str, Any] = {"protocol": key, "code": evaluator.key(found.arch).code}
        taken = None
        try:
            taken = evaluator.latency(found.arch, backend)
        except MeasurementError as error:
            entry["reason"] = str(error).partition("\n")[0]  # compilers add pages
        note_latency(results.book, found.arch.fingerprint, backend, entry)
        if taken is not None and found.run_id in shown:  # it may have been deleted in the UI
            named = {f"{name}.{backend}": value for name, value in figures(taken).items()}
            tracker.log_metrics(found.run_id, named, {f"hadnas.latency.{backend}": json.dumps(taken.protocol)})


@dataclass(frozen=True)
class Comparison:
    """Front and baselines by backend: name -> backend -> figures (`median_ms`, `ratio`, ...), or a `reason`."""

    rows: dict[str, dict[str, Mapping[str, Any]]]

    @property
    def backends(self) -> list[str]:
        """Every backend that something was timed on, eager first."""
        return list(dict.fromkeys(itertools.chain.from_iterable(self.rows.values())))

    def pairs(self, backend: str, base: str = "eager") -> tuple[list[tuple[str, str]], int]:
        """The pairs (faster, slower on `base`) that change places on `backend`, and the number of pairs looked at.

        Ratios of one backend are compared, and a pair counts only if it is apart on both: by 5 %, or by the larger
        relative interquartile range of the two where that is more.
        """
        known = {
            name: (row[base], row[backend])
            for name, row in self.rows.items()
            if base in row and backend in row and "ratio" in row[base] and "ratio" in row[backend]
        }
        turned = []
        pairs = list(itertools.combinations(known, 2))
        for pair in pairs:
            fast, slow = sorted(pair, key=lambda name: known[name][0]["ratio"])
            if _apart(known[fast][0], known[slow][0]) and _apart(known[slow][1], known[fast][1]):
                turned.append((fast, slow))
        return turned, len(pairs)


def comparison(results: StudyResults) -> Comparison:
    """What `compare` found for the front and the baselines as they are now; empty where nothing was taken."""
    rows = {found.name: results.latencies(found) for found in _compared(results)}
    return Comparison({name: row for name, row in rows.items() if row})


def _compared(results: StudyResults) -> list[Found]:
    return [found for found in (*results.front, *results.baselines) if found.feasible and found.arch is not None]


def _apart(fast: Mapping[str, Any], slow: Mapping[str, Any]) -> bool:
    return bool(slow["ratio"] / fast["ratio"] - 1 > max(NOISY, fast["ratio_iqr"], slow["ratio_iqr"]))
