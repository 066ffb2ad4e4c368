"""Latency by backend: the Pareto front and the baselines, and where their ranking changes.

Eager execution pays for every kernel that is launched; a compiler fuses element-wise chains. So the order of two
networks may depend on the backend, and a study that was searched by one may be used on another.
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
    """What was found for the front and the baselines as they are now; empty where nothing was taken."""
    rows = {found.name: results.latencies(found) for found in compared(results)}
    return Comparison({name: row for name, row in rows.items() if row})


def compared(results: StudyResults) -> list[Found]:
    """The networks that are timed on every backend: the front and the baselines."""
    return [found for found in (*results.front, *results.baselines) if found.feasible and found.arch is not None]


def _apart(fast: Mapping[str, Any], slow: Mapping[str, Any]) -> bool:
    return bool(slow["ratio"] / fast["ratio"] - 1 > max(NOISY, fast["ratio_iqr"], slow["ratio_iqr"]))
