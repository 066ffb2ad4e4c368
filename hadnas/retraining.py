"""`hadnas retrain`: trains one architecture longer, with a stronger recipe, and scores it once on the test split."""

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
from hadnas.errors import ARCHITECTURE, SpecError, check_kind
from hadnas.exporter.card import Facts, Single
from hadnas.exporter.folder import export
from hadnas.hosts.build import build_plan, check_size, save_weights, trained
from hadnas.hosts.graft.weights import expected
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.cost import cost
from hadnas.measure.figures import values
from hadnas.measure.metrics.metric import DEFAULT_METRIC
from hadnas.search.evaluate import check_start, start_of
from hadnas.search.proposals.defaults import images_as, images_of_weights
from hadnas.source.module import plan_source
from hadnas.store.study import one_sentence
from hadnas.train.data.spec import Data, DataSpec, load_data
from hadnas.train.device import chosen_device
from hadnas.train.loss import Loss
from hadnas.train.recipe import Policy, Recipe
from hadnas.train.score import Score, check_defined, score_module
from hadnas.train.trainer import Epoch, Fit, fit
from hadnas.train.tuning.start import Start

RAND = Policy(auto_augment="rand-m9-mstd0.5-inc1")
LONG_RECIPE = Recipe(epochs=50, augment=RAND, mixup=0.2, label_smoothing=0.1, ema=0.995)
"""The default recipe of a retraining."""


def long_recipe(data: Data) -> Recipe:
    """LONG_RECIPE; for values without label smoothing, for other inputs than one image without augmentation."""
    plain: dict[str, Any] = {"label_smoothing": 0.0} if data.target == "values" else {}
    if not data.of_one_image:
        plain |= {"augment": "none", "mixup": 0.0}
    return LONG_RECIPE.model_copy(update=plain)


SEEN = (
    "It started from weights. If these were trained on other splits, or under another split seed, they may have seen "
    "the test images; the test accuracy is then too high."
)


@dataclass(frozen=True, eq=False)
class Retrained:
    """A network on the CPU in eval mode, its training, and its score on the test split, opened once at the end.

    started_from: the initial weights, a file or those that the architecture names; None for fresh ones
    """

    plan: Plan
    module: nn.Module
    data: Data
    recipe: Recipe
    seed: int
    started_from: str | None
    fit: Fit
    test: Score

    @property
    def arch(self) -> Arch:
        """The architecture, completed for the task."""
        return self.plan.arch

    @property
    def task(self) -> Task:
        """The task of the network: the shape and the classes of its data."""
        return self.plan.task

    @property
    def validation(self) -> Score:
        """The score on the validation split after the last epoch."""
        return self.fit.score

    @property
    def metric(self) -> str:
        """The metric of the target, such as "accuracy"."""
        return DEFAULT_METRIC[self.data.target]

    def single(self, score: Score) -> Single:
        """The metric of a score, with its standard error."""
        return Single(self.metric, score.metrics[self.metric], score.standard_error(), score.n)

    def export(self, out: str | Path, *, origin: dict[str, Any] | None = None, force: bool = False) -> Path:
        """Write code, weights, data and model card, as `hadnas.export` does. `origin` adds rows to the card."""
        scores = (("validation", self.validation), ("test", self.test))
        settings = {name.replace("_", " "): value for name, value in self.recipe if value is not None}
        facts = Facts(
            origin={
                "trained by": "hadnas retrain",
                "started from": self.started_from or "fresh weights",
                **(origin or {}),
            },
            scores={name: self.single(score) for name, score in scores},
            figures=values("cost", cost(self.module, *self.task.shapes)),
            data={"name": self.data.name, "digest": self.data.digest, **self.data.parts},
            recipe={**settings, "seed": self.seed},
            limits=(
                f"One training with one seed: another seed gives another {self.metric.replace('_', ' ')}.",
                "The test split was opened once, after the last epoch; earlier runs of this architecture on it are not "
                "recorded here.",
                *([SEEN] if self.started_from is not None else []),
                *(f"{note}." for note in self.data.notes),
            ),
        )
        with tempfile.TemporaryDirectory() as scratch:
            weights = Path(scratch) / "weights.safetensors"
            save_weights(self.module, weights)
            return export(
                self.plan,
                self.task,
                out,
                weights,
                facts=facts,
                moments=self.data.moments,
                class_names=self.data.class_names,
                force=force,
            )


def retrain(
    arch: Arch,
    data: Data | DataSpec | str,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    weights: str | Path | None = None,
    device: str = "auto",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Retrained:
    """Train `arch` on `data`, from scratch or from weights, for its shape and classes.

    `weights` are a .safetensors file of the architecture, by default those that a network of timm names in it, if any.
    `recipe` is by default that of `long_recipe`. `seed` sets the initial weights and the order of batches. `on_epoch`
    is called after every epoch, with its validation score. Raises SpecError if the architecture or the weights do not
    fit the data, BuildError if the network cannot be exported, DataError or TrainingError as `fit` does, and DataError
    if the images of a split do not define the metric.
    """
    check_kind(arch, Arch, "arch", ARCHITECTURE)
    if not isinstance(data, Data):
        data = load_data(images_for(DataSpec(source=data) if isinstance(data, str) else data, arch, weights))
    device, recipe = chosen_device(device), recipe or long_recipe(data)
    check_defined(DEFAULT_METRIC[data.target], data, "val")
    check_defined(DEFAULT_METRIC[data.target], data, "test")
    task = Task(data.inputs, data.classes, data.target)
    plan = make_plan(arch.node, task)
    check_size(plan)
    if weights is None:
        check_start(plan, recipe, data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_plan(plan) if weights is None else trained(plan, Path(weights))
    start = start_of(plan, recipe, data.class_names)
    if weights is not None:
        Loss(data).unsettle(module)
        start = Start(str(weights), {name: name for name, _ in module.named_parameters()})
    plan_source(plan, {})  # raises for a network that cannot be exported before it is trained
    result = fit(module, data, recipe, seed=seed, device=device, start=start, on_epoch=on_epoch)
    test = score_module(module, data, "test", batch=recipe.evaluation_batch, device=device)
    started_from = plan.host.weights(plan) if weights is None else str(weights)
    return Retrained(plan, module.cpu(), data, recipe, seed, started_from, result, test)


def images_for(spec: DataSpec, arch: Arch, weights: str | Path | None) -> DataSpec:
    """Images as the weights expect them from which an architecture is trained."""
    return images_of_weights(spec, arch.node) if weights is None else images_as(spec, expected(Path(weights)))


def updated_recipe(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """`recipe` with every setting that is not None; settings of a `Policy` change the recipe's policy.

    Raises SpecError for a value that is not allowed, or for a policy's setting if the recipe has no policy.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    policy = {name: given.pop(name) for name in Policy.model_fields if name in given}
    try:
        found = Recipe(**{**recipe.model_dump(), **given})
        if not policy:
            return found
        if not isinstance(found.augment, Policy):
            raise SpecError(f"augment is {found.augment}; {', '.join(policy)} is allowed with timm's augmentation only")
        return Recipe(**{**found.model_dump(), "augment": {**found.augment.model_dump(), **policy}})
    except ValidationError as error:
        raise one_sentence(error, "") from None
