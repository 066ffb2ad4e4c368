"""Follows a forward pass operation by operation: the cost of each, and the products among them."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from hadnas.errors import MeasurementError
from hadnas.measure.aten import KINDS, VALUE_READERS, TorchDispatchMode, kind, rule_of, storage_id
from hadnas.measure.meta import run_operation
from hadnas.measure.operations import composed, filled, tensors

aten = torch.ops.aten

_MASKABLE = {aten.index.Tensor}
_WITH_FIRST = {aten.addcmul, aten.lerp, aten.addmm, aten.baddbmm, aten.addmv, aten.addbmm, aten.addr}
_LOST_FIRST = {aten.addcmul_, aten.lerp_, aten.addmm_, aten.baddbmm_, aten.addmv_, aten.addbmm_, aten.addr_}
"""Fused operations that add a product to their first argument: out of place, and in place."""


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts every ATen operation of a forward pass into the sub-module that executes it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.own: dict[str, list[int]] = {}  # path -> macs, elementwise, products, activations, bytes moved, calls
        self.kinds = {name: [0, 0] for name in KINDS}  # calls, macs
        self.peak = 0
        self._live = 0
        self._tensors: dict[int, weakref.ref[Tensor]] = {}  # made in the pass
        # Storage -> number of tensors, bytes, and whether activations were written to it. By storage, since a write
        # through one view changes all views. The module's own storages are never freed.
        module_tensors = (*module.parameters(), *module.buffers())
        self._storages: dict[int, list[int]] = {storage_id(t): [1, 0, False] for t in module_tensors}
        self.enter(None)

    def enter(self, path: str | None) -> None:
        self.path = path or ""
        self._current = self.own.setdefault(self.path, [0] * 6)

    def product(self, op: Any, args: Sequence[Any], out: Any) -> None:
        """Called after every operation that computes a product of two activations."""

    def is_activation(self, value: Any) -> bool:
        """Whether the value is a tensor computed from the input; a 0-dimensional tensor is a scalar, not one."""
        return isinstance(value, Tensor) and value.dim() > 0 and self._derived(value)

    def _derived(self, tensor: Tensor) -> bool:
        known = self._storages.get(storage_id(tensor))
        return known is not None and bool(known[2])

    def track(self, tensor: Tensor, activation: bool) -> None:
        """Follow a tensor made in the pass, until it is freed."""
        storage = storage_id(tensor)
        entry = self._storages.setdefault(storage, [0, tensor.untyped_storage().nbytes(), False])
        entry[2] = entry[2] or activation
        key = id(tensor)
        if key in self._tensors:  # the result of an operation in place
            return
        if not entry[0]:
            self._live += entry[1]
            self.peak = max(self.peak, self._live)
        entry[0] += 1

        def free(_: Any, tensors: Any = self._tensors, storage: int = storage) -> None:
            tensors.pop(key, None)
            entry[0] -= 1
            if not entry[0]:
                self._live -= entry[1]
                self._storages.pop(storage, None)

        self._tensors[key] = weakref.ref(tensor, free)

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if op in VALUE_READERS:
            raise MeasurementError(f"data-dependent control flow: {op} needs the values of a tensor, not its shape")
        read = tensors((*args, *kwargs.values()))
        rule = rule_of(op) if read else None  # an operation without input tensors (arange, zeros) is free
        if rule is composed:
            with self:
                return op.decompose(*args, **kwargs)
        if rule is filled:
            read = []
        if op in _MASKABLE and any(t.dtype in (torch.bool, torch.uint8) for t in tensors(args[1])):
            raise MeasurementError(f"data-dependent shape: {op} with a mask as index")
        activation = any(self._derived(t) for t in read)
        out = run_operation(op, args, kwargs)
        written = tensors((out,)) or read  # an operation without a result has written to its arguments
        if rule is not None and read:
            work = rule(args, kwargs, out, self.is_activation)
            own = self._current
            own[0] += work.macs
            own[1] += work.elementwise
            own[2] += work.products
            own[3] += sum(t.numel() for t in written)
            own[4] += sum(_bytes(t) for t in read) + sum(_bytes(t) for t in written)
            own[5] += 1
            total = self.kinds[kind(rule, args, out, work)]
            total[0] += 1
            total[1] += work.macs
            if work.products:
                self.product(op, args, out)
        for t in written:
            self.track(t, activation)
        return out


class ProductFinder(Counter):  # type: ignore[no-untyped-call]  # torch leaves its base untyped
    """Finds every product of a forward pass, and sets the one numbered `zeroed` to zero.

    found: path of the sub-module that computes it, per product in the order of execution.
    """

    def __init__(self, module: nn.Module, zeroed: int | None = None) -> None:
        super().__init__(module)
        self.found: list[str] = []
        self.zeroed = zeroed

    def product(self, op: Any, args: Sequence[Any], out: Any) -> None:
        if len(self.found) == self.zeroed:
            if op.overloadpacket in _WITH_FIRST:
                out.copy_(args[0])  # the first argument alone, without the product
            elif op.overloadpacket in _LOST_FIRST:
                raise MeasurementError(
                    f"{self.path}: the product in {op} cannot be set to zero: the tensor it was added to is overwritten"
                )
            elif op.overloadpacket in (aten.cumprod, aten.cumprod_):
                out.narrow(args[1], 1, out.shape[args[1]] - 1).zero_()  # the first element is not a product
            else:
                out.zero_()
        self.found.append(self.path)


def _bytes(tensor: Tensor) -> int:
    elements = tensor.numel()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if not stride and size:
            elements //= size  # an expanded dimension is read once
    return elements * tensor.element_size()


@contextmanager
def following(module: nn.Module, counter: Counter) -> Iterator[list[str]]:
    """Give `counter` the path of the running sub-module; yields the paths of running ones, the innermost last."""
    paths = {id(m): path for path, m in module.named_modules()}
    running: list[str] = []

    def enter(sub: nn.Module, args: Any) -> None:
        if id(sub) in paths:
            running.append(paths[id(sub)])
            counter.enter(running[-1])

    def leave(sub: nn.Module, args: Any, out: Any) -> None:
        if id(sub) in paths:
            while running.pop() != paths[id(sub)]:  # sub-modules left by an exception that the module caught
                pass
            counter.enter(running[-1] if running else None)

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        yield running
    finally:
        for hook in hooks:
            hook.remove()
