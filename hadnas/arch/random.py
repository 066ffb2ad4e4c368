"""Random architectures of a space."""

import random
from collections.abc import Iterator
from typing import Any

from hadnas.arch.node import Arch
from hadnas.arch.options import check_options
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import HadnasError, SpecError, check_kind
from hadnas.space import random_pick, resolve
from hadnas.space.choices import Choice
from hadnas.space.data import as_data, from_data

TRIES = 1000
"""The most draws of `sample` before it gives up."""

BARREN = 200
"""Draws in a row without a new architecture after which a space counts as exhausted."""


def sample(space: dict[str, Any], task: Task, *, seed: int = 0) -> Arch:
    """The architecture of the first valid draw from `space`, uniform over the options of each choice.

    Same seed, same architecture. Raises UnknownName or SpecError for an option that is misspelt or not allowed,
    SpecError for a value that is no search space, and with the first reason if none of 1,000 draws is valid for `task`.
    """
    check_kind(space, (dict, Choice), "space", "a search space; that of a study is study.space")
    space = from_data(as_data(space))
    check_options(space)
    rng = random.Random(seed)
    wrong: HadnasError | None = None
    for _ in range(TRIES):
        try:
            return complete(resolve(space, random_pick(rng)), task)
        except HadnasError as error:
            wrong = wrong or error
    raise SpecError(f"none of {TRIES} draws from the space is valid for {task}; the first: {wrong}")


def distinct(space: dict[str, Any], task: Task, seed: int) -> Iterator[Arch]:
    """Valid architectures of a space in random order, each once, until BARREN draws in a row give no new one."""
    rng = random.Random(seed)
    seen: set[str] = set()
    barren = 0
    while barren < BARREN:
        barren += 1
        try:
            arch = complete(resolve(space, random_pick(rng)), task)
        except HadnasError:  # the draw breaks a rule
            continue
        if arch.fingerprint not in seen:
            seen.add(arch.fingerprint)
            barren = 0
            yield arch
