"""What a sampler may know of a search beside its trials: the space, the objectives, and what costs no training."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any

from hadnas.measure.figures import Direction
from hadnas.space import Distribution, Params, Pick, Scalar, draws, replay, resolve, size

DRAWN = 64
"""Random draws that show the range of what is known."""


@dataclass(frozen=True)
class Prospect:
    """A candidate before it is trained.

    key       equal for draws that are the same network; a string, a number or a tuple of such
    known     objective -> its figure, for the objectives that are known without training
    features  name -> number: what a surrogate may learn from beside the decisions; the same names for every candidate
    """

    key: object
    known: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """A search as a sampler sees it.

    space       the search space
    objectives  their names, `directions` one for each
    describe    (answers, node) of a draw -> its prospect, or None where a rule or the limit of a known cost refuses it;
                a function of the draw alone, so that its results may be kept
    reference   objective -> the worst figure that counts for hypervolume; `hadnas.samplers.volume` chooses the others
    ratios      objectives whose ratios count, such as costs: hypervolume takes their logarithms
    """

    space: Any
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    describe: Callable[[Params, Any], Prospect | None]
    reference: Mapping[str, float] = field(default_factory=dict)
    ratios: frozenset[str] = frozenset()

    def prospect(self, answers: Params) -> Prospect | None:
        """The prospect of a trial's draw, kept. Raises SpecError where `answers` describe no draw of the space."""
        draw = tuple(sorted(answers.items()))
        if draw not in self._prospects:
            self._prospects[draw] = self.describe(answers, replay(self.space, answers))
        return self._prospects[draw]

    @cached_property
    def _prospects(self) -> dict[tuple[tuple[str, Any], ...], Prospect | None]:
        return {}

    @cached_property
    def known(self) -> list[list[float]]:
        """The objectives of some random draws, NaN where they are not known; always the same ones."""
        described = (self.describe(*draw) for draw in islice(draws(self.space, Random(0)), DRAWN))
        return [[found.known.get(name, float("nan")) for name in self.objectives] for found in described if found]

    @cached_property
    def size(self) -> int:
        """Assignments of the space."""
        return size(self.space)

    def distributions(self, draws: Iterable[Params]) -> dict[str, Distribution]:
        """What is chosen from at each decision that any of the draws has, by name."""
        names: set[str] = set()
        for answers in draws:
            names.update(answers)
            if not answers.keys() <= self._distributions.keys():
                resolve(self.space, self._noting(answers))
        return {name: self._distributions[name] for name in sorted(names)}

    @cached_property
    def _distributions(self) -> dict[str, Distribution]:
        return {}

    def _noting(self, answers: Params) -> Pick:
        def pick(name: str, distribution: Distribution) -> Scalar:
            self._distributions[name] = distribution
            return answers[name]

        return pick
