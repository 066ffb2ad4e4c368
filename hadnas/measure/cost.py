"""What a forward pass costs, counted without running it: MACs, element-wise operations, activations, memory.

The module runs once on the meta device, in evaluation mode and with a batch of one; every ATen operation on the way
is counted by the conventions at the top of `hadnas.measure.operations`. What is counted is what was executed, so an
operation costs the same however it is spelled.

A *product* is an element-wise multiplication of two activations: tensors computed from the input. Parameters,
buffers, constants and whatever is computed from these alone are not activations, so a LayerScale is no product.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from hadnas.errors import MeasurementError
from hadnas.measure.copies import copied
from hadnas.measure.operations import NOTHING, RULES, Rule, aten, largest, tensors


@dataclass(frozen=True)
class Counts:
    """Counts of one forward pass at batch 1.

    params: distinct parameters (elements).  macs: multiply-accumulates.
    elementwise: all arithmetic that is no MAC, by stated conventions; `products` are a part of it.
    products: element-wise products of two activations.
    activations: elements written (views write nothing).
    bytes_moved: bytes read and written if every operation is a kernel of its own; depends on how the module is written.
    """

    params: int
    macs: int
    elementwise: int
    products: int
    activations: int
    bytes_moved: int

    @property
    def flops(self) -> int:
        """Two per MAC; the element-wise operations stand beside it and are never added in."""
        return 2 * self.macs


@dataclass(frozen=True)
class Cost(Counts):
    """`Counts` of a whole module.

    peak_activation_bytes: the most memory that tensors made in the forward pass, and the input, hold at one moment;
        an estimate without workspaces that depends on how the module is written.
    by_module: path of each sub-module ("" is the module itself) -> its counts, those of its children included.
    """

    peak_activation_bytes: int
    by_module: dict[str, Counts] = field(repr=False)


def cost(module: nn.Module, shape: tuple[int, int, int]) -> Cost:
    """Count one forward pass of `module` on an input (1, *shape), shape = (C, H, W).

    No weights are allocated and the module stays as it is: one that holds weights is counted on a weightless copy,
    one on the meta device is counted itself. Raises MeasurementError, naming the sub-module, where the forward pass
    fails, needs the value of a tensor (data-dependent control flow), or returns anything but one tensor.
    """
    if len(shape) != 3 or any(not isinstance(n, int) or n < 1 for n in shape):
        raise MeasurementError(f"input shape {shape!r}: three positive integers (channels, height, width) are allowed")
    for name, p in module.named_parameters():
        if nn.parameter.is_lazy(p):
            raise MeasurementError(f"parameter {name!r} has no shape yet: run the module once before counting it")
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    held = (*module.parameters(), *module.buffers())
    on_meta = bool(held) and all(t.is_meta for t in held)  # without any, it may still hold other tensors
    counted = module if on_meta else _weightless(module)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    with _evaluation(counted):
        return _count(counted, torch.empty(1, *shape, dtype=dtype, device="meta"))


def _count(module: nn.Module, image: Tensor) -> Cost:
    counter = _Counter(module)
    with following(module, counter) as running:
        try:
            # in inference mode composite operations (attention, linear, normalisation) arrive whole
            with torch.inference_mode(), torch.device("meta"), counter:
                counter.hold(image, activation=True)
                out = module(image)
        except Exception as error:
            path = running[-1] if running else ""
            where = f"{path or 'the module'} ({type(module.get_submodule(path)).__name__})"
            what = str(error) if isinstance(error, MeasurementError) else f"{type(error).__name__}: {error}"
            raise MeasurementError(f"{where}: forward failed on a meta input {tuple(image.shape)}: {what}") from error
    if not isinstance(out, Tensor):
        raise MeasurementError(
            f"the module ({type(module).__name__}) returns a {type(out).__name__}: one tensor is allowed"
        )
    return _sum_up(module, counter)


@contextmanager
def following(module: nn.Module, counter: "_Counter") -> Iterator[list[str]]:
    """Tell `counter` which sub-module is being executed; gives their paths, after a failure the culprit last."""
    paths = {id(m): path for path, m in module.named_modules()}
    running: list[str] = []

    def enter(sub: nn.Module, args: Any) -> None:
        if id(sub) in paths:
            running.append(paths[id(sub)])
            counter.enter(running[-1])

    def leave(sub: nn.Module, args: Any, out: Any) -> None:
        if id(sub) in paths:
            while running.pop() != paths[id(sub)]:  # sub-modules left by an exception that the module itself caught
                pass
            counter.enter(running[-1] if running else None)

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        yield running
    finally:
        for hook in hooks:
            hook.remove()


def _sum_up(module: nn.Module, counter: "_Counter") -> Cost:
    totals = {path: [0] * 5 for path, _ in module.named_modules()}
    for path, own in counter.own.items():
        while True:  # what a sub-module did, all around it did as well
            totals[path] = [a + b for a, b in zip(totals[path], own, strict=True)]
            if not path:
                break
            path = path.rpartition(".")[0]
    by_module = {
        path: Counts(sum(p.numel() for p in sub.parameters()), *totals[path]) for path, sub in module.named_modules()
    }
    whole = by_module[""]
    return Cost(
        whole.params,
        whole.macs,
        whole.elementwise,
        whole.products,
        whole.activations,
        whole.bytes_moved,
        peak_activation_bytes=counter.peak,
        by_module=by_module,
    )


def _weightless(module: nn.Module) -> nn.Module:
    """A copy on the meta device that shares nothing with `module` and allocates no weights."""
    memo: dict[int, Any] = {}
    for sub in module.modules():
        for value in (*vars(sub).values(), *sub._parameters.values(), *sub._buffers.values()):
            if isinstance(value, Tensor) and id(value) not in memo:
                empty = torch.empty_like(value, device="meta", requires_grad=False)
                is_parameter = isinstance(value, nn.Parameter)
                memo[id(value)] = nn.Parameter(empty, requires_grad=value.requires_grad) if is_parameter else empty
    try:
        return copied(module, memo)
    except Exception as error:
        raise MeasurementError(f"the module ({type(module).__name__}) cannot be copied to count it: {error}") from error


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each sub-module's own mode afterwards."""
    before = [(sub, sub.training) for sub in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for sub, training in before:
            sub.training = training


_VALUE_READERS = {
    aten.item.default,
    aten._local_scalar_dense.default,
    aten.is_nonzero.default,
    aten.nonzero.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.unique_consecutive.default,
    aten._unique2.default,
}
_MASKABLE = {aten.index.Tensor}


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts every ATen operation of a forward pass into the sub-module that executes it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.own: dict[str, list[int]] = {}  # path -> macs, elementwise, products, activations, bytes moved
        self.peak = 0
        self._live = 0
        self._tensors: dict[int, tuple[weakref.ref[Tensor], bool]] = {}  # made in the pass: is it an activation?
        self._storages: dict[int, list[int]] = {}  # of those tensors: number of holders, bytes
        self._weights = {t.untyped_storage()._cdata for t in (*module.parameters(), *module.buffers())}
        self._kinds: dict[Any, tuple[Rule | None, bool]] = {}
        self.enter(None)

    def enter(self, path: str | None) -> None:
        self.path = path or ""
        self._current = self.own.setdefault(self.path, [0] * 5)

    def product(self, op: Any, args: Sequence[Any], out: Any) -> None:
        """Called after every operation that holds a product of two activations."""

    def is_activation(self, value: Any) -> bool:
        """Whether the value is a tensor computed from the input; a 0-dimensional one is a scalar."""
        return isinstance(value, Tensor) and value.dim() > 0 and self._derived(value)

    def _derived(self, tensor: Tensor) -> bool:
        known = self._tensors.get(id(tensor))
        return known is not None and known[1]

    def hold(self, tensor: Tensor, activation: bool) -> None:
        """Follow a tensor made in the pass, until it is freed."""
        key = id(tensor)
        if key in self._tensors:  # the result of an operation in place
            self._tensors[key] = (self._tensors[key][0], activation or self._tensors[key][1])
            return
        storage = tensor.untyped_storage()
        held = self._storages.setdefault(storage._cdata, [0, 0])
        if not held[0]:
            held[1] = 0 if storage._cdata in self._weights else storage.nbytes()
            self._live += held[1]
            self.peak = max(self.peak, self._live)
        held[0] += 1

        def free(_: Any, tensors: Any = self._tensors, cdata: int = storage._cdata) -> None:
            tensors.pop(key, None)
            held[0] -= 1
            if not held[0]:
                self._live -= held[1]
                self._storages.pop(cdata, None)

        self._tensors[key] = (weakref.ref(tensor, free), activation)

    def _kind(self, op: Any) -> tuple[Rule | None, bool]:
        """The rule of an operation, None for one that moves no data, and whether to look inside it instead."""
        rule = RULES.get(op.overloadpacket)
        if rule is not None:
            return rule, False
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")
        return (None if op.is_view else largest), composite

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = self._kinds.get(op)
        if kind is None:
            if op in _VALUE_READERS:
                raise MeasurementError(f"data-dependent control flow: {op} needs the values of a tensor, not its shape")
            kind = self._kinds[op] = self._kind(op)
        rule, composite = kind
        if composite:
            with self:
                out = op.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        read = tensors(args) if not kwargs else tensors((*args, *kwargs.values()))
        if op in _MASKABLE and any(t.dtype in (torch.bool, torch.uint8) for t in tensors(args[1])):
            raise MeasurementError(f"data-dependent shape: {op} with a mask as index")
        activation = any(self._derived(t) for t in read)
        out = op(*args, **kwargs)
        written = [out] if isinstance(out, Tensor) else tensors(out if isinstance(out, (tuple, list)) else ())
        if rule is not None and read:  # a tensor made from nothing (arange, zeros) is free
            work = rule(args, kwargs, out, self.is_activation) if written else NOTHING
            own = self._current
            own[0] += work.macs
            own[1] += work.elementwise
            own[2] += work.products
            own[3] += sum(t.numel() for t in written)
            own[4] += sum(_bytes(t) for t in read) + sum(_bytes(t) for t in written)
            if work.products:
                self.product(op, args, out)
        for t in written:
            self.hold(t, activation)
        return out


class ProductFinder(_Counter):  # type: ignore[no-untyped-call]  # torch leaves its base untyped
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
                out.copy_(args[0])  # the product is added to the first argument
            elif op.overloadpacket in _LOST_FIRST:
                raise MeasurementError(
                    f"{self.path}: the product in {op} cannot be set to zero: what it is added to is lost"
                )
            else:
                out.zero_()
        self.found.append(self.path)


_WITH_FIRST = {aten.addcmul, aten.lerp, aten.addmm, aten.baddbmm, aten.addmv}
_LOST_FIRST = {aten.addcmul_, aten.lerp_, aten.addmm_, aten.baddbmm_, aten.addmv_}


def _bytes(tensor: Tensor) -> int:
    elements = tensor.numel()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if not stride and size:
            elements //= size  # an expanded dimension is read once
    return elements * tensor.element_size()
