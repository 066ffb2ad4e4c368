"""A training of the user's own in place of the `Trainer`."""

import hashlib
import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hadnas.errors import HadnasError, SpecError, TrainingError
from hadnas.measure.copies import copied
from hadnas.measure.metrics.metric import find_metric
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
        reported: HadnasError | None = None

        def report(
            epoch: int, *, train_loss: float = float("nan"), val_loss: float = float("nan"), **found: float
        ) -> None:
            nonlocal last, reported
            if epoch != len(curve) + 1 or epoch > recipe.epochs:
                allowed = f"epochs 1 to {recipe.epochs} in order"
                raise TrainingError(f"report({epoch}) after epoch {len(curve)}; allowed are {allowed}")
            now = time.perf_counter()
            point = Epoch(epoch, float(train_loss), float(val_loss), _checked(found, data), float("nan"), now - last)
            last = now
            curve.append(point)
            try:
                on_epoch(point)
            except HadnasError as error:
                reported = error
                raise

        module.to(device)
        fresh = copied(module)
        with seeded(seed, torch.device(device)):
            try:
                found = self.function(module, data, recipe.epochs, report)
            except SystemExit as error:
                raise TrainingError(f"the function {self.function.__name__} ends the process: {error!r}") from error
            except HadnasError as error:
                if error is reported:  # of the ledger, as when another worker has taken the training over
                    raise
                raise TrainingError(
                    f"{type(error).__name__} in the function {self.function.__name__}: {error}"
                ) from error
        figures = _checked({} if found is None else found, data)
        try:  # what is stored are weights: anything else that the function changed would be lost
            fresh.load_state_dict(module.state_dict())
        except RuntimeError as error:
            raise TrainingError(
                f"after the function {self.function.__name__}, the module has other weights than before: "
                f"{' '.join(str(error).split())}; allowed is to train those that it has"
            ) from error
        score = score_module(fresh, data, batch=recipe.evaluation_batch, device=device)
        if not math.isfinite(score.loss):
            raise TrainingError(f"after the function {self.function.__name__}, the validation loss is {score.loss}")
        return Fit(curve, score, time.perf_counter() - began, figures)


def _checked(figures: Any, data: Data) -> dict[str, float]:
    """Metrics of the target by name as floats. Raises TrainingError for all else, and for a value out of bounds."""
    if not isinstance(figures, Mapping):
        raise TrainingError(
            f'the figures are {figures!r}; allowed are metrics by name, as {{"accuracy": 0.9}}, or None'
        )
    checked = {}
    for name, value in figures.items():
        try:
            low, high = find_metric(name, data.target, data.classes).bounds
        except HadnasError as error:
            raise TrainingError(str(error)) from None
        try:
            checked[name] = float(value)
        except (TypeError, ValueError):
            raise TrainingError(f"figure {name} = {value!r}; allowed is a number") from None
        if not low <= checked[name] <= high or math.isinf(checked[name]):
            raise TrainingError(f"figure {name} = {checked[name]:g}; allowed is a number from {low:g} to {high:g}")
    return checked
