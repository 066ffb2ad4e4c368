"""A search as a sampler sees it: what each draw of a space costs, and what a surrogate may learn of it, untrained."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hadnas.arch.features import features
from hadnas.arch.task import Task
from hadnas.errors import HadnasError
from hadnas.hosts.build import parts
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import Counts
from hadnas.measure.figures import TABLE, Direction
from hadnas.measure.figures import objectives as directions
from hadnas.measure.parts import PartCounts
from hadnas.samplers.problem import Problem, Prospect
from hadnas.search.evaluate import overruns
from hadnas.space import Params
from hadnas.space.data import as_data, from_data


def prospects(
    space: dict[str, Any],
    task: Task,
    objectives: Sequence[str] | Mapping[str, Direction],
    limits: Mapping[str, float] | None = None,
) -> Problem:
    """The problem of a study: a space for a task, its objectives and, figure -> largest value, its constraints.

    A user's own objectives come with directions, as in {"val/iou": "maximize", "macs": "minimize"}.

    What it describes has the fingerprint as its key, and knows the objectives that are counted: not latencies, nor the
    peak of activations, which is no sum over parts. Of costs and latencies the ratios count. A draw is refused that no
    network can be built or counted of, or that breaks a limit on such a figure. The parts of a network are counted when
    they are met first: make one problem per process.
    """
    if not isinstance(objectives, Mapping):
        objectives = {name: directions()[name] for name in objectives}
    space, counted = from_data(as_data(space)), PartCounts()
    names = [name for name in dict.fromkeys((*objectives, *(limits or {}))) if name in Counts.__dataclass_fields__]

    def describe(answers: Params, node: Any) -> Prospect | None:
        try:
            plan = make_plan(node, task)
            found = counted.count(parts(plan), *task.shapes)
        except HadnasError:  # as in the study: a rule does not hold, or it cannot be built or counted
            return None
        figures = {name: TABLE[name].of(found) for name in names}
        if any(over > 0 for over in overruns(limits or {}, figures).values()):
            return None
        known = {name: float(figures[name]) for name in objectives if name in figures}
        return Prospect(plan.arch.fingerprint, known, features(plan.arch, asdict(found)))

    ratios = frozenset(name for name in objectives if name in TABLE and TABLE[name].source != "training")
    return Problem(space, tuple(objectives), tuple(objectives.values()), describe, ratios=ratios)
