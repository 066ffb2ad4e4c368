"""A training of the user's own in place of the `Trainer`."""

import hashlib
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from hadnas.errors import SpecError, TrainingError
from hadnas.measure.metrics.metric import METRICS
from hadnas.train.data.spec import Data
from hadnas.train.recipe import Recipe
from hadnas.train.score import score_module
from hadnas.train.seeds import seeded
from hadnas.train.trainer import Epoch, Fit

Train = Callable[[nn.Module, Data, int, Callable[..., None]], Mapping[str, float] | None]
"""(module, data, until, report) -> figures or None.

It trains the module in place, to the epoch `until`, on `data.train`; `data.val` is for validation. After each epoch it
may call `report(epoch, train_loss=..., val_loss=..., accuracy=...)`, with any of hadnas's metrics by name, for the
curve. Afterwards hadnas scores the module on the validation split; figures that it returns, metrics by name, replace
these scores.
"""


@dataclass(frozen=True)
class OwnTraining:
    """A user's function, under whose name and hash of its file trainings are stored."""

    function: Train

    @property
    def mark(self) -> str:
        """The function's name and the hash of its file, as "train 0123456789abcdef".

        Raises SpecError for what is no function of a file.
        """
        try:
            text = inspect.getsource(inspect.getmodule(self.function) or self.function)
            name = self.function.__name__
        except (OSError, TypeError, AttributeError) as error:
            raise SpecError(f"evaluate = {self.function!r}: allowed is a function of a file ({error})") from None
        return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def fit(
        self,
        module: nn.Module,
        data: Data,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device | str,
        on_epoch: Callable[[Epoch], None],
    ) -> Fit:
        """Train `module` in place; `seed` is that of every global generator.

        Raises TrainingError for a report or a result that is not allowed; errors of the function pass.
        """
        began = last = time.perf_counter()
        curve: list[Epoch] = []

        def report(
            epoch: int, *, train_loss: float = float("nan"), val_loss: float = float("nan"), **found: float
        ) -> None:
            nonlocal last
            if epoch != len(curve) + 1 or epoch > recipe.epochs:
                allowed = f"epochs 1 to {recipe.epochs} in order"
                raise TrainingError(f"report({epoch}) after epoch {len(curve)}; allowed are {allowed}")
            now = time.perf_counter()
            point = Epoch(epoch, float(train_loss), float(val_loss), _checked(found), float("nan"), now - last)
            last = now
            curve.append(point)
            on_epoch(point)

        module.to(device)
        with seeded(seed, torch.device(device)):
            figures = _checked(self.function(module, data, recipe.epochs, report) or {})
        score = score_module(module, data, batch=recipe.evaluation_batch, device=device)
        return Fit(curve, score, time.perf_counter() - began, figures)


def _checked(figures: Mapping[str, float]) -> dict[str, float]:
    for name, value in figures.items():
        if name not in METRICS or not isinstance(value, int | float) or not abs(value) < float("inf"):
            raise TrainingError(f"figure {name} = {value!r}; allowed are finite numbers of {', '.join(METRICS)}")
    return {name: float(value) for name, value in figures.items()}
