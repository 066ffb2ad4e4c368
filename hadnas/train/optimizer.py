"""The optimiser and the learning rate of a recipe, and their states, from which a training continues."""

import inspect
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Protocol

import torch
from timm.optim import create_optimizer_v2, get_optimizer_class, param_groups_layer_decay, param_groups_weight_decay
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from hadnas.train.recipe import Recipe
from hadnas.train.tuning.start import ParentNames

_TIMM: dict[str, dict[str, Any]] = {
    "cosine": {"sched": "cosine"},
    "linear": {"sched": "poly", "decay_rate": 1.0},
    "constant": {"sched": "multistep", "decay_milestones": ()},
}
START = 100
"""The warm-up begins at the recipe's learning rate divided by this."""

DECAY = 0.25
"""The share of the steps over which "wsd" decays by default."""


class Schedule(Protocol):
    """A learning rate that follows from the number of updates alone: it has no state."""

    def step_update(self, num_updates: int) -> None:
        """Set the rate of the update that comes after `num_updates`."""


def make_optimizer(module: nn.Module, recipe: Recipe, origins: Mapping[str, str] | None = None) -> Optimizer:
    """The optimiser of a module's parameters, fused if torch has it so: else updates take a fifth of a training.

    origins: parameter -> the parameter of a parent whose weights it starts from; others are new
    """
    chosen = get_optimizer_class(recipe.optimizer, bind_defaults=False)
    fused = {"fused": True} if "fused" in inspect.signature(chosen).parameters else {}
    named, undecayed = ParentNames(module, origins or {}), _undecayed(module, origins or {})
    if recipe.layer_decay is None:
        groups = param_groups_weight_decay(named, recipe.weight_decay, no_weight_decay_list=undecayed)
    else:
        groups = param_groups_layer_decay(named, recipe.weight_decay, undecayed, layer_decay=recipe.layer_decay)
    if recipe.new_rate is not None:
        groups = _faster(groups, {p for name, p in module.named_parameters() if name not in (origins or {})}, recipe)
    made: Optimizer = create_optimizer_v2(groups, opt=recipe.optimizer, lr=recipe.lr, **fused)
    return made


def make_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> Schedule:
    """The schedule of a recipe with `steps` updates in an epoch, set to the first of them."""
    warmup = min(recipe.warmup_epochs, recipe.epochs - 1)
    schedule: Schedule
    if recipe.schedule == "wsd":
        decay = DECAY if recipe.decay is None else recipe.decay
        schedule = WarmupStableDecay(optimizer, steps * recipe.epochs, warmup=steps * warmup, decay=decay)
    else:
        made, _ = create_scheduler_v2(
            optimizer,
            num_epochs=recipe.epochs,
            warmup_epochs=warmup,
            warmup_lr=recipe.lr / START,
            step_on_epochs=False,
            updates_per_epoch=steps,
            **_TIMM[recipe.schedule],
        )
        assert isinstance(made, Scheduler)
        schedule = made
    schedule.step_update(0)
    return schedule


class WarmupStableDecay:
    """Linear warm-up over `warmup` updates, a constant rate, and a linear decay towards 0 over the last of `steps`.

    decay  the share of the steps that decay

    Before the decay the rate does not depend on the length of the training (Hägele et al., Scaling Laws and
    Compute-Optimal Training Beyond Fixed Training Durations, 2024, arXiv 2405.18392, section 3). timm has none.
    """

    def __init__(self, optimizer: Optimizer, steps: int, *, warmup: int, decay: float) -> None:
        self.optimizer, self.steps, self.warmup, self.decay = optimizer, steps, warmup, decay
        self.rates = [group["lr"] * group.get("lr_scale", 1.0) for group in optimizer.param_groups]

    def step_update(self, num_updates: int) -> None:
        """Set the rate of the update that comes after `num_updates`."""
        share = min(1.0, (self.steps - num_updates) / (self.decay * self.steps))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            if num_updates < self.warmup:  # as timm's schedules
                first = rate / START
                rate = first + num_updates * ((rate - first) / self.warmup)
            group["lr"] = share * rate


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """The state for `load_optimizer`: the `state_dict()`, and the generators of timm's adahessian and kron."""
    state = dict(optimizer.state_dict())
    if isinstance(own := getattr(optimizer, "generator", None), torch.Generator):
        state["generator"] = own.get_state()
    if isinstance(own := getattr(optimizer, "rng", None), Random):
        state["rng"] = own.getstate()
    return state


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a state of an equal optimiser; tensors are copied.

    torch casts loaded tensors to their parameter's dtype but keeps their memory format; fused kernels then pair wrong
    elements, silently. Here each tensor keeps its dtype, and has its parameter's strides if it has its shape.
    """
    optimizer.load_state_dict(state)
    for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        values = optimizer.state.get(parameter, {})
        for name, value in values.items():
            if isinstance(value, Tensor):
                values[name] = _placed(value, state["state"][index][name], parameter)
    for name, put in (("generator", "set_state"), ("rng", "setstate")):
        if name in state:
            getattr(getattr(optimizer, name), put)(state[name])


def _placed(value: Tensor, saved: Tensor, parameter: Tensor) -> Tensor:
    if saved.ndim > 1 and saved.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=saved.dtype, requires_grad=False).copy_(saved)
    return value.to(saved.dtype, copy=True)


def _faster(groups: list[dict[str, Any]], new: set[nn.Parameter], recipe: Recipe) -> list[dict[str, Any]]:
    """The groups with new parameters apart, at `new_rate` times the rate."""
    split = []
    for group in groups:
        for factor, chosen in ((1.0, False), (recipe.new_rate, True)):
            if parameters := [p for p in group["params"] if (p in new) == chosen]:
                scale = group.get("lr_scale", 1.0) * factor
                split.append({**group, "params": parameters, "lr_scale": scale})
    return split


def _undecayed(module: nn.Module, origins: Mapping[str, str]) -> set[str]:
    """Parameters without weight decay beside one-dimensional ones: single numbers and those that the module names."""
    spared = {name for name, parameter in module.named_parameters() if parameter.numel() == 1}
    named: Callable[[], set[str]] = getattr(module, "no_weight_decay", set)
    return {origins.get(name, name) for name in spared | set(named())}
