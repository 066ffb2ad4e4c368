"""Latency of the Pareto front and the baselines by backend, and the pairs whose order changes.

Eager execution pays for every kernel launch; a compiler fuses element-wise operations. So the order of two networks may
depend on the backend, and a network found with one backend may be deployed on another.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hadnas.measure.latency.pairs import NOISY
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults


@dataclass(frozen=True)
class Comparison:
    """Front and baselines by backend: name -> backend -> figures (`median_ms`, `ratio`, ...), or a `reason`."""

    rows: dict[str, dict[str, Mapping[str, Any]]]

    @property
    def backends(self) -> list[str]:
        """Every backend with a measurement, eager first."""
        return list(dict.fromkeys(itertools.chain.from_iterable(self.rows.values())))

    def pairs(self, backend: str) -> tuple[list[tuple[str, str]], int]:
        """The pairs (faster, slower on eager) in the opposite order on `backend`, and the number of pairs compared.

        A pair counts only if its ratios differ on both backends by more than 5 % and by more than the larger of the
        two interquartile ranges.
        """
        known = {
            name: (row["eager"], row[backend])
            for name, row in self.rows.items()
            if "ratio" in row.get("eager", {}) and "ratio" in row.get(backend, {})
        }
        swapped = []
        pairs = list(itertools.combinations(known, 2))
        for pair in pairs:
            fast, slow = sorted(pair, key=lambda name: known[name][0]["ratio"])
            if _differ(known[fast][0], known[slow][0]) and _differ(known[slow][1], known[fast][1]):
                swapped.append((fast, slow))
        return swapped, len(pairs)


def comparison(results: StudyResults) -> Comparison:
    """The latencies of the current front and the baselines; empty if no further backend was timed."""
    rows = {found.name: results.latencies(found) for found in compared(results)}
    return Comparison({name: row for name, row in rows.items() if row})


def compared(results: StudyResults) -> list[Found]:
    """The networks that are timed on every backend: the front and the baselines."""
    return [found for found in (*results.front, *results.baselines) if found.feasible and found.arch is not None]


def _differ(fast: Mapping[str, Any], slow: Mapping[str, Any]) -> bool:
    return bool(slow["ratio"] / fast["ratio"] - 1 > max(NOISY, fast["ratio_iqr"], slow["ratio_iqr"]))
