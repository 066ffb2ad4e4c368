"""The best combination of options within a limit: a small integer program."""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from hadnas.search.distill.options import SiteChoice


class Program:
    """One option of each decision, so that the sum of their scores is least and that of their changes within a limit.

    A module inside a replaced one is not there any more, so no option changes it.

    choices  the decisions
    scores   of every option, decision by decision; an infinite one is never chosen
    changes  of every option: what it adds to the figure of the parent
    """

    def __init__(self, choices: Sequence[SiteChoice], scores: Sequence[float], changes: Sequence[float]) -> None:
        options = [(number, option) for number, choice in enumerate(choices) for option in choice.options]
        self.scores, self.changes = np.array(scores), np.array(changes)
        rows = [[number == decision for number, _ in options] for decision in range(len(choices))]
        one_each = LinearConstraint(np.array(rows, float), 1, 1)
        pairs = [
            [place in (outer, inner) for place in range(len(options))]
            for outer, inner in itertools.permutations(range(len(options)), 2)
            if any(
                path.startswith(f"{whole}.") for whole in options[outer][1].replaced for path in options[inner][1].sites
            )
        ]
        self.constraints = [one_each, *([LinearConstraint(np.array(pairs, float), -np.inf, 1)] if pairs else [])]
        self.bounds = Bounds(0, np.isfinite(self.scores).astype(float))

    def least_change(self) -> float | None:
        """The least sum of changes of any combination; None if there is no combination."""
        chosen = self._solve(self.changes)
        return None if chosen is None else float(self.changes[chosen].sum())

    def best(self, limit: float) -> list[int] | None:
        """The places of the chosen options, one of each decision; None if no combination is within the limit."""
        return self._solve(
            np.where(np.isfinite(self.scores), self.scores, 0),
            LinearConstraint(self.changes[None] / self._scale, -np.inf, limit / self._scale),
        )

    @property
    def _scale(self) -> float:
        """The largest change: the solver's tolerance is absolute, and MACs are millions."""
        return float(np.abs(self.changes).max()) or 1.0

    def _solve(self, costs: np.ndarray, *within: LinearConstraint) -> list[int] | None:
        size = float(np.abs(costs).max()) or 1.0
        found = milp(
            costs / size,
            integrality=np.ones(len(costs)),
            bounds=self.bounds,
            constraints=[*self.constraints, *within],
            options={"mip_rel_gap": 0.0},
        )
        return None if found.x is None else np.flatnonzero(found.x > 0.5).tolist()
