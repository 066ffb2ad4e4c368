"""What a module has from a parent network: whose weights its parameters start from, and which of them stay fixed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.models import group_parameters
from torch import nn

from hadnas.errors import SpecError, unknown
from hadnas.targets import TargetKind
from hadnas.train.recipe import Recipe
from hadnas.train.tuning.distillation import Distillation


@dataclass(frozen=True)
class Start:
    """The parent of a module, for recipes that fine-tune.

    name     of the module, in messages
    origins  parameter -> the parameter of the parent whose weights it starts from; those without one are new
    teacher  makes the parent, trained for the module's target; raises SpecError if it was not. None: it has no parent
    """

    name: str = "the module"
    origins: Mapping[str, str] = field(default_factory=dict)
    teacher: Callable[[], nn.Module] | None = None

    def check(self, module: nn.Module, recipe: Recipe, target: TargetKind) -> None:
        """Raise SpecError or UnknownName for a recipe that cannot fine-tune `module`, maybe on the meta device."""
        for setting, value in recipe.of_weights.items():
            if not self.origins:
                raise SpecError(
                    f"recipe: {setting} = {value!r} is not allowed for {self.name}, which starts from no weights; "
                    "allowed are networks with weights, such as timm:MODEL with --weights"
                )
        frozen_parameters(module, recipe, self)
        if recipe.distill is not None:
            if target != "classes":
                raise SpecError(f"recipe: distill is not allowed for a target of {target}; it is for classes")
            if self.teacher is None:
                raise SpecError(f"recipe: distill is not allowed for {self.name}, which has no parent to learn from")

    def distillation(self, recipe: Recipe, device: torch.device) -> Distillation | None:
        """The share of the loss from the parent's logits, if the recipe has one. Raises as `teacher` does."""
        if recipe.distill is None or self.teacher is None:
            return None
        return Distillation(self.teacher().to(device), recipe.distill, recipe.temperature)


class ParentNames:
    """A module as timm groups its parameters: under the names that they have in the parent."""

    def __init__(self, module: nn.Module, origins: Mapping[str, str]) -> None:
        self._module, self._origins = module, origins

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As of a module."""
        for name, parameter in self._module.named_parameters():
            yield self._origins.get(name, name), parameter


class Frozen:
    """The part of a module in training that a recipe freezes: until `release`, its parameters need no gradient."""

    def __init__(self, module: nn.Module, recipe: Recipe, start: Start) -> None:
        self.parameters = frozen_parameters(module, recipe, start)
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        self.modules = fixed_modules(module) if self.parameters else []

    def train(self, module: nn.Module) -> None:
        """Set a module to training mode, all of it that is not frozen."""
        module.train()
        for fixed in self.modules:
            fixed.eval()

    def release(self) -> None:
        """Let the parameters be trained again."""
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def frozen_parameters(module: nn.Module, recipe: Recipe, start: Start) -> list[nn.Parameter]:
    """The parameters that a recipe freezes: those with weights of the parent, up to a layer, as timm groups them.

    Raises UnknownName for a layer that the module lacks, SpecError for a module whose layers timm cannot group, and if
    nothing but new parameters would be left.
    """
    last = recipe.freeze
    if last is None:
        return []
    matcher = getattr(module, "group_matcher", None)
    if matcher is None:
        raise SpecError(f"recipe: freeze = {last!r} is not allowed for {start.name}: timm does not group its layers")
    groups: dict[str, int] = group_parameters(ParentNames(module, start.origins), matcher(coarse=False), reverse=True)
    inside = [group for name, group in groups.items() if f"{name}.".startswith(f"{last}.")]
    if not inside:
        layers = {".".join(name.split(".")[:-1][:depth]): None for name in groups for depth in (1, 2) if "." in name}
        raise unknown("layer", last, layers)
    if max(inside) == max(groups.values()):
        raise SpecError(
            f"recipe: freeze = {last!r} is not allowed: it is the last layer of {start.name}; allowed are those before"
        )
    return [
        parameter
        for name, parameter in module.named_parameters()
        if name in start.origins and groups[start.origins[name]] <= max(inside)
    ]


def fixed_modules(module: nn.Module) -> list[nn.Module]:
    """The outermost modules with parameters of which none is trained; in them, batch norms must keep their averages."""
    parameters = [*module.parameters()]
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return [module]
    return [found for child in module.children() for found in fixed_modules(child)]
