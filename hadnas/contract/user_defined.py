"""Checks a study's user-defined ops before training, so that its stored weights give the trained networks again."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch

from hadnas.arch.random import TRIES, distinct
from hadnas.arch.task import Task
from hadnas.blocks.registry import ops
from hadnas.contract.cases import Case
from hadnas.contract.graft_cases import at_sites
from hadnas.contract.state_dict import outside_state_dict
from hadnas.errors import StudyError
from hadnas.hosts.expression import calls
from hadnas.hosts.host import Plan, make_plan

DRAWS = 64
"""The fewest random candidates from which the values of a study's ops are collected."""


def check_user_defined(names: Iterable[str], space: Any, task: Task, baselines: Sequence[Plan], seed: int = 0) -> None:
    """Raise StudyError if one of the user-defined ops `names` of a space has state outside its state dict.

    The rule is that of `hadnas check`. Each op is tried once with every set of values that it has in the baselines and
    in random candidates, at its width and resolution there. An op that fails is skipped: the screen refuses its
    candidates.
    """
    inner = {name for name in names if "host" not in ops()[name].roles}  # a host is never inside another network
    if not inner:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = (make_plan(arch, task) for arch in distinct(space, task, seed))
        for case in _cases(inner, chain(baselines, drawn)):
            try:
                found = next(outside_state_dict(case), None)
            except Exception:
                continue
            if found is not None:
                raise StudyError(f"cannot start with the op {case}: {found}")


def _cases(names: set[str], plans: Iterator[Plan]) -> Iterator[Case]:
    """The ops `names` as in `plans`, each set of values once; stops after DRAWS plans with every op, or TRIES plans."""
    seen: set[str] = set()
    for count, plan in enumerate(plans):
        if count >= TRIES or (count >= DRAWS and names <= {json.loads(key)[0] for key in seen}):
            return
        for call in calls(plan.call):
            if call.op not in names or call.place is None or call.place.size is None:
                continue
            op = ops()[call.op]
            values = {name: call.kwargs[name] for name, slot in op.slots.items() if not slot.roles}
            if (key := json.dumps([op.name, values])) not in seen:
                seen.add(key)
                varied = ", ".join(f"{name}={value!r}" for name, value in values.items()) or "defaults"
                yield from at_sites(Case(op, values, call.place.dim, *call.place.size, varied))
