"""A random architecture of a space."""

import random
from typing import Any

from hadnas.errors import HadnasError, SpecError
from hadnas.models.arch import Arch
from hadnas.models.complete import complete
from hadnas.models.task import Task
from hadnas.space import random_pick
from hadnas.space import sample as draw_from

TRIES = 1000


def sample(space: dict[str, Any], task: Task, *, seed: int = 0) -> Arch:
    """The architecture of the first valid draw from `space`, uniform over the options of each choice.

    Same seed, same architecture. Raises SpecError where none of 1,000 draws is valid for `task`, with the first reason.
    """
    rng = random.Random(seed)
    wrong: HadnasError | None = None
    for _ in range(TRIES):
        try:
            return complete(draw_from(space, random_pick(rng)), task)
        except HadnasError as error:
            wrong = wrong or error
    raise SpecError(f"none of {TRIES} draws from the space is valid for {task}; the first: {wrong}")
