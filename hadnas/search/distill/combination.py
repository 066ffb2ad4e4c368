"""The best combination of options within a limit: a small integer program."""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from hadnas.search.distill.options import SiteChoice


class Program:
    """One option of each decision, so that the sum of scores is least and that of changes within a limit.

    A module inside a replaced one is not there any more, so no option changes it.

    choices  the decisions
    changes  of every option, decision by decision: what it adds to the figure of the parent
    """

    def __init__(self, choices: Sequence[SiteChoice], changes: Sequence[float]) -> None:
        options = [(number, option) for number, choice in enumerate(choices) for option in choice.options]
        self.changes = np.array(changes)
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

    def least_change(self) -> float | None:
        """The least sum of changes of any combination; None if there is no combination."""
        chosen = self._least(self.changes)
        return None if chosen is None else float(self.changes[chosen].sum())

    def best(self, scores: Sequence[float], limit: float) -> list[int] | None:
        """The places of the chosen options, one of each decision; None if no combination is within the limit.

        An option of infinite score is never chosen.
        """
        size = float(np.abs(self.changes).max()) or 1.0  # the solver's tolerance is absolute, and MACs are millions
        within = LinearConstraint(self.changes[None] / size, -np.inf, limit / size)
        return self._least(np.array(scores), within)

    def _least(self, values: np.ndarray, *within: LinearConstraint) -> list[int] | None:
        finite = np.isfinite(values)
        values = np.where(finite, values, 0)
        found = milp(
            values / (float(np.abs(values).max()) or 1.0),
            integrality=np.ones(len(values)),
            bounds=Bounds(0, finite.astype(float)),
            constraints=[*self.constraints, *within],
            options={"mip_rel_gap": 0.0},
        )
        return None if found.x is None else np.flatnonzero(found.x > 0.5).tolist()
