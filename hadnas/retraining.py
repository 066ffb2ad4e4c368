"""`hadnas retrain`: one architecture, trained longer and with a fuller recipe, scored once on the test split."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.errors import SpecError
from hadnas.exporter.card import Accuracy, Facts
from hadnas.exporter.folder import export_plan
from hadnas.hosts.build import build_plan, check_size, save_weights, trained
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.cost import cost
from hadnas.measure.figures import values
from hadnas.source.module import plan_source
from hadnas.store.study import one_sentence
from hadnas.train.data.spec import Data, DataSpec, load_data
from hadnas.train.device import chosen_device
from hadnas.train.recipe import Policy, Recipe
from hadnas.train.score import Score, evaluate
from hadnas.train.trainer import Epoch, Fit, fit

RAND = Policy(auto_augment="rand-m9-mstd0.5-inc1")
FULLER = Recipe(epochs=50, augment=RAND, mixup=0.2, label_smoothing=0.1, ema=0.995)
"""The recipe of a retraining where nothing else is said."""

SEEN = (
    "It started from weights: where these were trained on images of other splits, or of these under another split "
    "seed, the test images may be among them, and its test accuracy is then too high."
)


@dataclass(frozen=True, eq=False)
class Retrained:
    """A network on the CPU in eval mode, how it learned, and its score on the test split, opened once at the end.

    started_from: the file of the weights it began with; None for fresh ones
    """

    plan: Plan
    module: nn.Module
    data: Data
    recipe: Recipe
    seed: int
    started_from: Path | None
    fit: Fit
    test: Score

    @property
    def arch(self) -> Arch:
        """The architecture, as completed for the task."""
        return self.plan.arch

    @property
    def task(self) -> Task:
        """What the network is for: the shape and the classes of its data."""
        return self.plan.task

    @property
    def validation(self) -> Score:
        """The score on the validation split after the last epoch."""
        return Score(self.fit.val_accuracy, self.fit.val_loss, self.fit.val_n)

    def export(self, out: str | Path, *, origin: dict[str, Any] | None = None, force: bool = False) -> Path:
        """Write code, weights, data and model card, as `hadnas.export` does. `origin` is where the network is from."""
        scores = (("validation", self.validation), ("test", self.test))
        settings = {name.replace("_", " "): value for name, value in self.recipe if value is not None}
        facts = Facts(
            origin={
                "trained by": "hadnas retrain",
                "started from": self.started_from or "fresh weights",
                **(origin or {}),
            },
            accuracies={name: _accuracy(score) for name, score in scores},
            figures=values("cost", cost(self.module, self.data.shape)),
            data={"name": self.data.name, "digest": self.data.digest, **self.data.parts},
            recipe={**settings, "seed": self.seed},
            limits=(
                "One training with one seed: another seed gives another accuracy.",
                "The test split was opened once, after the last epoch; whether it was opened for this architecture "
                "before, is not known here.",
                *([SEEN] if self.started_from is not None else []),
                *(f"{note}." for note in self.data.notes),
            ),
        )
        with tempfile.TemporaryDirectory() as scratch:
            weights = Path(scratch) / "weights.safetensors"
            save_weights(self.module, weights)
            moments, names = (self.data.mean, self.data.std), self.data.class_names
            return export_plan(self.plan, out, weights, facts=facts, moments=moments, class_names=names, force=force)


def retrain(
    arch: Arch,
    data: Data | DataSpec | str,
    recipe: Recipe = FULLER,
    *,
    seed: int = 0,
    weights: str | Path | None = None,
    device: str = "auto",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Retrained:
    """Train `arch` on `data`, from scratch or from `weights` (.safetensors), for its shape and classes.

    `seed` gives the initial weights and the order of training. `on_epoch` sees every epoch with its validation score.
    Raises SpecError where the architecture or the weights do not fit the data, BuildError where it could not be
    exported, DataError or TrainingError as `fit` does.
    """
    if not isinstance(data, Data):
        data = load_data(data)
    device = chosen_device(device)
    task = Task.image(*data.shape, classes=data.classes)
    plan = make_plan(arch.node, task)
    check_size(plan)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_plan(plan) if weights is None else trained(plan, Path(weights))
    plan_source(plan, {})  # before the training: its end is an export
    result = fit(module, data, recipe, seed=seed, device=device, on_epoch=on_epoch)
    test = evaluate(module, data, "test", batch=recipe.evaluation_batch, device=device)
    started_from = None if weights is None else Path(weights)
    return Retrained(plan, module.cpu(), data, recipe, seed, started_from, result, test)


def changed(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """`recipe` with every setting that is not None in its place; those of a `Policy` change the one it then has.

    Raises SpecError for a value that is not allowed, or for a policy's where it has none.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    policy = {name: given.pop(name) for name in Policy.model_fields if name in given}
    try:
        found = Recipe(**{**recipe.model_dump(), **given})
        if not policy:
            return found
        if not isinstance(found.augment, Policy):
            raise SpecError(
                f"{', '.join(policy)} can be given for timm's augmentation only, and augment is {found.augment}"
            )
        return Recipe(**{**found.model_dump(), "augment": {**found.augment.model_dump(), **policy}})
    except ValidationError as error:
        raise one_sentence(error, "") from None


def _accuracy(score: Score) -> Accuracy:
    return Accuracy(score.accuracy, score.standard_error, score.n)
