"""A deep conditional space whose optimum is known, as a benchmark: the figures are a formula of the draw.

A hidden draw is the best. The mismatch of another draw is one number from 0 to 1 for each decision of the hidden one (1
where it has no such decision, or another label; the share of the range for ordered values). The accuracy is
exp(-|A m|^2), with A the identity and random interactions: 1 for the hidden draw, less for every other that has all of
its decisions right but one. Cost is known before: one for each block, times its width and expansion.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hadnas.measure.figures import Direction
from hadnas.samplers.problem import Problem, Prospect
from hadnas.space import Categorical, Distribution, Params, draws, one_of, op, repeat, replay, resolve

BLOCK = one_of(
    op("star", expand=one_of(1, 2, 3, 4), kernel=one_of(3, 5, 7), act=one_of("relu", "gelu", None)),
    op("mlp", expand=one_of(1, 2, 4, 6)),
    op("conv", kernel=one_of(3, 5, 7), norm=one_of("batch", "layer")),
)


def space(stages: int, depth: int) -> dict[str, Any]:
    """Up to `depth` blocks in each stage: 2 + 4 depth decisions a stage at most."""
    blocks = repeat(op("residual", block=BLOCK), one_of(*range(1, depth + 1)))
    return op("net", stages=[{"dim": one_of(16, 24, 32, 48), "blocks": blocks} for _ in range(stages)])


@dataclass(frozen=True)
class Deep:
    """The benchmark; `noise` is the standard deviation of a training's accuracy."""

    stages: int = 3
    depth: int = 3
    noise: float = 0.01
    costly: bool = False
    epochs: int = 1
    accuracy: int = 0
    """Whether cost is an objective, too."""

    @cached_property
    def space(self) -> dict[str, Any]:
        return space(self.stages, self.depth)

    @cached_property
    def hidden(self) -> dict[str, tuple[Any, Distribution]]:
        """Decision -> its answer in the best draw, and what it was chosen from: the longest of 20 random draws."""
        found = draws(self.space, random.Random(1))
        answers, _ = max((next(found) for _ in range(20)), key=lambda draw: len(draw[0]))
        out: dict[str, tuple[Any, Distribution]] = {}

        def pick(name: str, distribution: Distribution) -> Any:
            out[name] = (answers[name], distribution)
            return answers[name]

        resolve(self.space, pick)
        return out

    @cached_property
    def matrix(self) -> np.ndarray:
        n = len(self.hidden)
        rng = np.random.default_rng(2)
        return (np.eye(n) + rng.normal(0, 0.5 / np.sqrt(n), (n, n))) * np.sqrt(3 / n)

    @cached_property
    def problem(self) -> Problem:
        return self.fresh()

    def fresh(self) -> Problem:
        """A problem that knows of no draw yet."""
        names = ("accuracy", "cost") if self.costly else ("accuracy",)
        directions: tuple[Direction, ...] = ("maximize", "minimize") if self.costly else ("maximize",)
        return Problem(self.space, names, directions, self.describe, dict(zip(names, self.reference, strict=True)))

    @property
    def reference(self) -> tuple[float, ...]:
        return (0.0, self.stages * self.depth * 48 * 6.0)[: 1 + self.costly]

    @property
    def best(self) -> float:
        """With cost, the volume of a network of the best accuracy that costs nothing."""
        return float(np.prod(self.reference[1:]))

    def describe(self, answers: Params, node: Any) -> Prospect:
        blocks = [(stage["dim"], item["block"]) for stage in node["stages"] for item in stage["blocks"]]
        cost = float(sum(dim * block.get("expand", 2) for dim, block in blocks))
        features = {"cost": np.log(cost), "depth": len(blocks)}
        features |= {name: sum(block["op"] == name for _, block in blocks) for name in ("star", "mlp", "conv")}
        return Prospect(tuple(sorted(answers.items(), key=str)), {"cost": cost}, features)

    def accuracy_of(self, answers: Mapping[str, Any]) -> float:
        mismatch = []
        for name, (best, distribution) in self.hidden.items():
            if name not in answers or isinstance(distribution, Categorical):
                mismatch.append(float(answers.get(name, self) != best))
            else:
                values = distribution.values
                mismatch.append(abs(values.index(answers[name]) - values.index(best)) / (len(values) - 1))
        return float(np.exp(-np.square(self.matrix @ np.array(mismatch)).sum()))

    def trained(self, key: Any, seed: int) -> list[float]:
        accuracy, *cost = self.judged(key)
        return [accuracy + random.Random(f"{seed} {key}").gauss(0, self.noise), *cost]

    def judged(self, key: Any) -> list[float]:
        answers = dict(key)
        cost = self.describe(answers, replay(self.space, answers)).known["cost"]
        return [self.accuracy_of(answers), cost][: 1 + self.costly]

    def curve(self, key: Any, seed: int) -> list[tuple[float, float, float]]:
        return []

    def costs(self, key: Any) -> list[float]:
        return []

    def work(self, key: Any) -> float:
        return 1.0
