"""Screens a network before training: one mini-batch forward and backward, with every product merge off and on.

A network whose initial values overflow, explode or do not depend on the input is not worth training. Nor is one that
fails in this way once the learned scale `alpha` of its product merges is 1, or after a few trial updates of its weights
with the study's learning rate on the same mini-batch.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadnas.errors import MeasurementError
from hadnas.inputs import Inputs, cast, shapes_text
from hadnas.measure.aten import writes
from hadnas.measure.copies import copied

# Largest standard deviation of a sub-module's output. In a map of 10^5 values some reach five or six standard
# deviations, and float16 ends at 65,504; good networks, normalised or not, are below a few hundred.
EXPLODING_ACTIVATION = 1e4
# The same after UPDATES trial updates, which hardly change good networks. With it the screen rejects 90 % of the
# networks that diverge and 4 % of those that train (tests/bench/bench_screen.py, on seeds not used to choose it).
EXPLODING_UPDATE = 3e4
UPDATES = 3
# Largest standard deviation of the gradient at a sub-module, relative to that at the logits. Pooling and normalisation
# make it smaller than 1; with a growth by this factor the loss rises at the first step.
EXPLODING_GRADIENT = 1e4
# Smallest relative deviation between images of the input to the last layer with weights. Below it the layer cannot
# distinguish the images: float32 has seven digits, and a sum over some hundred features loses two of them.
DEAD_ACTIVATION = 1e-5
# Smallest maximum of the gradient of the first weights: Adam adds 1e-8 to a gradient's size before it divides by it,
# so weights with gradients ten thousand times smaller hardly change.
DEAD_GRADIENT = 1e-12
Judge = Callable[[Tensor], Tensor]  # the loss of outputs


@dataclass(frozen=True)
class Signal:
    """Statistics of a sub-module's output and of the gradient with respect to it (None without one).

    activation_std, gradient_std: standard deviation of the finite values.
    not_finite, gradient_not_finite: the numbers of infinite or NaN values.
    """

    path: str
    kind: str
    alpha: float | None
    activation_std: float
    gradient_std: float | None
    not_finite: int
    gradient_not_finite: int
    size: int


@dataclass(frozen=True)
class Screen:
    """The result of one mini-batch. `rejected` is None, or the reason: path, figure and bound.

    signals: per sub-module in the order of execution, for alpha = 0 and then alpha = 1 (once, with alpha None, for a
    module without alpha).  losses: the loss for each alpha.
    """

    rejected: str | None
    losses: dict[float | None, float]
    signals: tuple[Signal, ...] = field(repr=False)


def screen(
    module: nn.Module,
    inputs: Inputs,
    targets: Tensor,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    lr: float | None = None,
    loss: Callable[..., Tensor] = F.cross_entropy,
) -> Screen:
    """Run one mini-batch of inputs (B, ...), B >= 2, and targets through `module` and back, in training mode.

    dtype: that of training; a 16-bit dtype means autocast, without a change of the weights. Every parameter named
    `alpha` is set to 0, then to 1. With a learning rate `lr` three trial updates from the initial weights follow, each
    of every parameter by `lr` against the sign of its gradient (the first step of Adam), and one more forward pass.
    A copy is run: the module, its buffers and gradients and the random state do not change. `loss` is that of (outputs,
    target). Raises MeasurementError if a pass fails, naming the sub-module, or the module cannot be copied or moved.
    """
    if len(targets) < 2 or any(len(one) != len(targets) for one in inputs):
        found = f"{shapes_text(inputs)} and targets {tuple(targets.shape)}"
        raise MeasurementError(f"inputs {found}: allowed are (B, ...) and (B,) or (B, K), B >= 2")
    if any(p.is_meta for p in module.parameters()):
        raise MeasurementError(f"the module ({type(module).__name__}) is on the meta device: no weights, no signal")
    device = torch.device(device)
    twin = copied(module)
    try:
        twin, targets, inputs = twin.to(device), targets.to(device), tuple(one.to(device) for one in inputs)
    except Exception as error:
        raise MeasurementError(f"the module ({type(module).__name__}) cannot be moved to {device}: {error}") from error
    twin.train().zero_grad()
    judge: Judge = partial(loss, target=targets)
    alphas = [p for name, p in twin.named_parameters() if name.rpartition(".")[2] == "alpha"]
    starts = [alpha.detach().clone() for alpha in alphas]
    signals: list[Signal] = []
    losses: dict[float | None, float] = {}
    rejected: str | None = None
    for value in (0.0, 1.0) if alphas else (None,):
        with torch.no_grad():
            for alpha in alphas:
                alpha.fill_(value or 0.0)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            probe = _Probe(twin, value, "" if value is None else f" at alpha = {value:g}")
            losses[value] = probe.run(inputs, judge, dtype)
        signals += probe.signals()
        rejected = rejected or probe.verdict()
    if lr is not None and rejected is None:
        with torch.no_grad():
            for alpha, start in zip(alphas, starts, strict=True):
                alpha.copy_(start)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            rejected = _after_updates(twin, inputs, judge, dtype, lr)
    return Screen(rejected, losses, tuple(signals))


def _after_updates(module: nn.Module, inputs: Inputs, judge: Judge, dtype: torch.dtype, lr: float) -> str | None:
    """The reason to reject `module` after trial updates, or None. Changes its weights."""
    try:
        for _ in range(UPDATES):
            _pass(module, inputs, judge, dtype)
            with torch.no_grad():
                for parameter in module.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(lr * parameter.grad.sign())
    except Exception as error:
        reason = f"trial updates failed: {type(error).__name__}: {error}"
        raise MeasurementError(f"the module ({type(module).__name__}): {reason}") from error
    probe = _Probe(module, None, f" after {UPDATES} updates of {lr:g}")
    probe.run(inputs, judge, dtype, backward=False)
    return probe.exploding(EXPLODING_UPDATE)


def _pass(module: nn.Module, inputs: Inputs, judge: Judge, dtype: torch.dtype, backward: bool = True) -> float:
    """One pass forward and back, or forward only; returns the loss."""
    lower = torch.autocast(inputs[0].device.type, dtype) if dtype.itemsize == 2 else nullcontext()
    module.zero_grad()
    with torch.set_grad_enabled(backward), lower:
        logits = module(*(inputs if dtype.itemsize == 2 else cast(inputs, dtype)))
        loss = judge(logits.float() if dtype.itemsize == 2 else logits)
    if backward:
        loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


class _Probe:
    """Collects statistics of every sub-module in one forward and backward pass; `when` follows its name in reasons."""

    def __init__(self, module: nn.Module, alpha: float | None, when: str) -> None:
        self.module, self.alpha, self.when = module, alpha, when
        self.order: list[str] = []  # paths in the order of their outputs
        self.running: list[str] = []
        self.outputs: dict[str, tuple[float, int, int]] = {}  # standard deviation, not finite, size
        self.gradients: dict[str, tuple[float, int, int]] = {}
        self.weighted: list[tuple[str, Tensor]] = []
        self.last_input: Tensor | None = None  # of the last layer with weights
        # the latest output (False) and gradient (True), its version and its statistics
        self.last: dict[bool, tuple[Tensor, int, tuple[float, int, int]]] = {}

    def run(self, inputs: Inputs, judge: Judge, dtype: torch.dtype, backward: bool = True) -> float:
        """One pass forward and back, or forward only; returns the loss."""
        hooks = []
        for path, sub in self.module.named_modules():
            hooks.append(sub.register_forward_pre_hook(self._entering(path)))
            hooks.append(sub.register_forward_hook(self._leaving(path)))
        try:
            return _pass(self.module, inputs, judge, dtype, backward)
        except Exception as error:
            path = self.running[-1] if self.running else ""
            reason = f"failed on inputs {shapes_text(inputs)}: {type(error).__name__}: {error}"
            raise MeasurementError(f"{self._name(path)}: {reason}") from error
        finally:
            for hook in hooks:
                hook.remove()

    def signals(self) -> list[Signal]:
        found = []
        for path in self.order:
            std, bad, size = self.outputs[path]
            gradient_std, gradient_bad, _ = self.gradients.get(path, (None, 0, 0))
            kind = type(self.module.get_submodule(path)).__name__
            found.append(Signal(path, kind, self.alpha, std, gradient_std, bad, gradient_bad, size))
        return found

    def verdict(self) -> str | None:
        """The first reason to reject, in the order of the signal: forward, then backward; None without one."""
        if (exploding := self.exploding(EXPLODING_ACTIVATION)) is not None:
            return exploding
        if self.last_input is not None and (deviation := _relative_deviation(self.last_input)) < DEAD_ACTIVATION:
            return self._reason(
                self.weighted[-1][0],
                f"dead signal: features differ by {deviation:.3g} between images (bound {DEAD_ACTIVATION:g})",
            )
        return self._backward_verdict()

    def exploding(self, bound: float) -> str | None:
        """The first sub-module whose output is not finite or has a standard deviation above `bound`, or None."""
        for path in self.order:
            std, bad, size = self.outputs[path]
            if bad:
                return self._reason(path, f"{bad} of {size} activations are not finite (none may be)")
            if std > bound:
                return self._reason(path, f"activations explode: std {std:.3g} (bound {bound:g})")
        return None

    def _backward_verdict(self) -> str | None:
        last = self.gradients[self.order[-1]][0] if self.order[-1] in self.gradients else 0.0
        for path in reversed(self.order):
            std, bad, size = self.gradients.get(path, (0.0, 0, 0))
            if bad:
                return self._reason(path, f"{bad} of {size} gradients are not finite (none may be)")
            if last and std / last > EXPLODING_GRADIENT:
                growth = f"std {std / last:.3g} times that at the logits (bound {EXPLODING_GRADIENT:g})"
                return self._reason(path, f"gradients explode: {growth}")
        if len(self.weighted) < 2:
            return None
        (first, weight), (_, head) = self.weighted[0], self.weighted[-1]
        largest = 0.0 if weight.grad is None else float(weight.grad.abs().max())
        # a head initialised at zero passes no gradient back before the first step, which is not an error
        if largest < DEAD_GRADIENT and bool(head.detach().any()):
            return self._reason(first, f"dead gradient: at most {largest:.3g} (bound {DEAD_GRADIENT:g})")
        return None

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(sub: nn.Module, args: Any) -> None:
            self.running.append(path)
            weight = getattr(sub, "weight", None)
            if isinstance(weight, Tensor) and weight.dim() > 1 and args and isinstance(args[0], Tensor):
                self.weighted.append((path, weight))
                self.last_input = args[0].detach()

        return hook

    def _leaving(self, path: str) -> Callable[..., None]:
        def hook(sub: nn.Module, args: Any, out: Any) -> None:
            while self.running.pop() != path:
                pass
            if not isinstance(out, Tensor) or not out.is_floating_point():
                return
            if path not in self.outputs:
                self.order.append(path)
            self.outputs[path] = self._statistics(out, gradient=False)
            if out.requires_grad:
                out.register_hook(self._arriving(path))  # type: ignore[no-untyped-call]

        return hook

    def _arriving(self, path: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            self.gradients[path] = self._statistics(gradient, gradient=True)

        return hook

    def _statistics(self, values: Tensor, gradient: bool) -> tuple[float, int, int]:
        """`_statistics`, computed once for a tensor that nested sub-modules return one after another."""
        if gradient in self.last:
            tensor, version, found = self.last[gradient]
            if tensor is values and version == writes(values):
                return found
        found = _statistics(values)
        self.last[gradient] = (values, writes(values), found)
        return found

    def _name(self, path: str) -> str:
        return f"{path or 'the module'} ({type(self.module.get_submodule(path)).__name__})"

    def _reason(self, path: str, text: str) -> str:
        return f"{self._name(path)}{self.when}: {text}"


def _statistics(values: Tensor) -> tuple[float, int, int]:
    """Standard deviation of the finite values (infinite if it overflows), number of other values, size."""
    values = values.detach()
    std = float(values.float().std(correction=0))
    if math.isfinite(std):  # so all values are finite, and their squares do not overflow
        return std, 0, values.numel()
    values = values.double().flatten()
    finite = values[values.isfinite()]
    std = float(finite.std(correction=0)) if len(finite) else math.nan
    return std, len(values) - len(finite), len(values)


def _relative_deviation(values: Tensor) -> float:
    """Root mean square deviation between images, relative to that of the values; 0 if all are 0."""
    values = values.double()
    size = float(values.square().mean().sqrt())
    return float(values.std(0, correction=0).square().mean().sqrt()) / size if size else 0.0
