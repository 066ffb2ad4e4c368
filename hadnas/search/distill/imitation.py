"""Modules that learn to give the outputs of a network's own module at a site, each alone, on the same inputs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from hadnas.train.data.images import Batches, Split
from hadnas.train.device import machine_errors
from hadnas.train.optimizer import make_optimizer, make_schedule
from hadnas.train.recipe import Recipe
from hadnas.train.seeds import seeded

RECIPE = Recipe(epochs=1, batch=64, lr=1e-2, weight_decay=0.0)
"""How a module imitates another: its one epoch has as many updates as are wanted.

At .002 star blocks in a MobileNetV4 had, after 300 updates, 3 to 10 times the divergence that they have at .012.
"""


class _Reached(Exception):
    """The last of the wanted modules has run; the rest of the network need not."""


@dataclass
class _Record:
    """The calls of a network's modules in one pass: path -> (arguments, keyword arguments), and path -> output."""

    given: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    returned: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def record_calls(network: nn.Module, paths: Sequence[str], images: Tensor) -> _Record:
    """The inputs and outputs of the modules at `paths`, in eval mode; the network runs no further than it must."""
    seen = _Record()
    hooks = []

    def hook(path: str) -> None:
        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            # a copy, as some modules change their input in place
            seen.given[path] = (args[0].clone(), *args[1:]), kwargs

        def leave(_: nn.Module, args: Any, out: Tensor) -> None:
            seen.returned[path] = out.clone()
            if len(seen.returned) == len(paths):
                raise _Reached

        module = network.get_submodule(path)
        hooks.extend([module.register_forward_pre_hook(enter, with_kwargs=True), module.register_forward_hook(leave)])

    for path in paths:
        hook(path)
    try:
        network.eval()(images)
    except _Reached:
        pass
    finally:
        for handle in hooks:
            handle.remove()
    return seen


def imitate(
    network: nn.Module,
    pupils: Sequence[tuple[str, nn.Module]],
    images: Split,
    *,
    steps: int,
    seed: int,
    device: torch.device,
    say: Callable[[int], None] = lambda done: None,
) -> list[float]:
    """Train each of the `pupils` (path, module) on the calls of the network's own module at its path.

    Each has its own optimiser and sees the same batches of `images`, without their targets; `say(done)` follows each
    step. The loss is the mean square of the difference over the variance of the network's output, so that a constant
    has 1 at best. Returns the loss of each over the last tenth of the steps.

    Raises MachineError if memory runs out or the device fails.
    """
    paths = list(dict.fromkeys(path for path, _ in pupils))
    losses = torch.zeros(len(pupils), device=device)
    last = max(1, steps // 10)
    with seeded(seed, device), machine_errors():
        optimizers = [make_optimizer(module.train(), RECIPE) for _, module in pupils]
        schedules = [make_schedule(optimizer, RECIPE, steps) for optimizer in optimizers]
        for step, ((batch,), _) in zip(range(steps if pupils else 0), _batches(images, device, seed), strict=False):
            seen = record_calls(network, paths, batch)
            for place, (path, module) in enumerate(pupils):
                (first, *others), kwargs = seen.given[path]
                target = seen.returned[path]
                out = module(first.clone(), *others, **kwargs)
                loss = (out - target).square().mean() / target.var().clamp_min(torch.finfo(target.dtype).tiny)
                loss.backward()
                nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimizers[place].step()
                optimizers[place].zero_grad()
                schedules[place].step_update(step + 1)
                if step >= steps - last:
                    losses[place] += loss.detach() / last
            say(step + 1)
    return losses.tolist()


def _batches(images: Split, device: torch.device, seed: int) -> Batches:
    """Batches of RECIPE's size without end, each pass in a new order; one of a single image is left out."""
    generator, size = torch.Generator().manual_seed(seed), min(RECIPE.batch, len(images))

    def passes() -> Iterator[Batches]:
        while True:
            yield images.batches(size, device, torch.randperm(len(images), generator=generator))

    return (batch for batch in chain.from_iterable(passes()) if len(batch[1]) > 1)
