"""What a forward pass costs, counted without running it: MACs, element-wise operations, activations, memory.

The module runs once on the meta device, in evaluation mode and with a batch of one; every ATen operation on the way
is counted by the conventions at the top of `hadnas.measure.operations`. What is counted is what was executed, so an
operation costs the same however it is spelled.

A *product* is an element-wise multiplication of two activations: tensors computed from the input. Parameters,
buffers, constants and whatever is computed from these alone are not activations, so a LayerScale is no product.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hadnas.errors import MeasurementError
from hadnas.measure.copies import weightless
from hadnas.measure.counter import Counter, following


@dataclass(frozen=True)
class Counts:
    """Counts of one forward pass at batch 1.

    params: distinct parameters (elements).  macs: multiply-accumulates.
    elementwise: all arithmetic that is no MAC, by stated conventions; `products` are a part of it.
    products: element-wise products of two activations.
    activations: elements written (views write nothing).
    bytes_moved: bytes read and written if every operation is a kernel of its own; depends on how the module is written.
    calls: operations executed, views not counted; eager execution pays for each, however small; depends likewise.
    """

    params: int
    macs: int
    elementwise: int
    products: int
    activations: int
    bytes_moved: int
    calls: int

    @property
    def flops(self) -> int:
        """Two per MAC; the element-wise operations stand beside it and are never added in."""
        return 2 * self.macs


@dataclass(frozen=True)
class Cost(Counts):
    """`Counts` of a whole module.

    peak_activation_bytes: the most memory that tensors made in the forward pass, and the input, hold at one moment;
        an estimate without workspaces that depends on how the module is written.
    by_kind: convolution, grouped_convolution, matrix_product (attention, too) or other -> (calls, macs).
    by_module: path of each sub-module ("" is the module itself) -> its counts, those of its children included.
    """

    peak_activation_bytes: int
    by_kind: dict[str, tuple[int, int]] = field(repr=False)
    by_module: dict[str, Counts] = field(repr=False)


class Form(NamedTuple):
    """All of an input that its counts depend on; `activation` is True where it depends on the network's input."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    activation: bool

    @classmethod
    def of(cls, tensor: Tensor, *, activation: bool) -> "Form":
        """That of a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, activation)

    @classmethod
    def of_image(cls, shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> "Form":
        """That of a network's input (1, *shape)."""
        return cls.of(torch.empty(1, *shape, dtype=dtype, device="meta"), activation=True)


def cost(module: nn.Module, shape: tuple[int, int, int]) -> Cost:
    """Count one forward pass of `module` on an input (1, *shape), shape = (C, H, W).

    No weights are allocated and the module stays as it is: one that holds weights is counted on a weightless copy,
    one on the meta device is counted itself. Raises MeasurementError, naming the sub-module, where the forward pass
    fails, needs the value of a tensor (data-dependent control flow), uses an operation whose cost is not known
    (`hadnas.measure.aten`), or returns anything but one tensor.
    """
    if len(shape) != 3 or any(not isinstance(n, int) or n < 1 for n in shape):
        raise MeasurementError(f"input shape {shape!r}: three positive integers (channels, height, width) are allowed")
    for name, p in module.named_parameters():
        if nn.parameter.is_lazy(p):
            raise MeasurementError(f"parameter {name!r} has no shape yet: run the module once before counting it")
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    held = (*module.parameters(), *module.buffers())
    on_meta = bool(held) and all(t.is_meta for t in held)  # without any, it may still hold other tensors
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return counted(module if on_meta else weightless(module), Form.of_image(shape, dtype))[0]


def counted(module: nn.Module, form: Form) -> tuple[Cost, Form]:
    """The cost of a module without weights on an input of a form, and the form of its output. Raises as `cost`."""
    counter = Counter(module)
    image = torch.empty_strided(form.shape, form.stride, dtype=form.dtype, device="meta")
    with evaluation(module), following(module, counter) as running:
        try:
            # in inference mode composite operations (attention, linear, normalisation) arrive whole
            with torch.inference_mode(), torch.device("meta"), counter:
                counter.hold(image, activation=form.activation)
                out = module(image)
        except Exception as error:
            path = running[-1] if running else ""
            where = f"{path or 'the module'} ({type(module.get_submodule(path)).__name__})"
            said = str(error).partition("\n")[0]  # kernels of the meta device add paragraphs
            what = said if isinstance(error, MeasurementError) else f"{type(error).__name__}: {said}"
            raise MeasurementError(f"{where}: forward failed on a meta input {tuple(image.shape)}: {what}") from error
    if not isinstance(out, Tensor):
        raise MeasurementError(
            f"the module ({type(module).__name__}) returns a {type(out).__name__}: one tensor is allowed"
        )
    return _sum_up(module, counter), Form.of(out, activation=counter.is_activation(out))


def _sum_up(module: nn.Module, counter: "Counter") -> Cost:
    totals = {path: [0] * 6 for path, _ in module.named_modules()}
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
        whole.calls,
        peak_activation_bytes=counter.peak,
        by_kind={name: (calls, macs) for name, (calls, macs) in counter.kinds.items()},
        by_module=by_module,
    )


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each sub-module's own mode afterwards."""
    before = [(sub, sub.training) for sub in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for sub, training in before:
            sub.training = training
