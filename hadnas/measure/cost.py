"""The cost of a forward pass, counted without computing it: MACs, element-wise operations, activations, memory.

The module runs once on the meta device, in evaluation mode and with a batch of one; every executed ATen operation is
counted by the conventions at the top of `hadnas.measure.operations`, so different spellings of an operation cost the
same.

A *product* is an element-wise multiplication of two activations: tensors computed from the input. Parameters, buffers,
constants and tensors computed from these only are not activations, so a LayerScale is not a product.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hadnas.errors import MeasurementError, check_kind, first_line
from hadnas.inputs import SHAPES_ALLOWED, InputShape, is_shape, shapes_text, zeros
from hadnas.measure.aten import uncompiled
from hadnas.measure.copies import weightless
from hadnas.measure.counter import Counter, following


@dataclass(frozen=True)
class Counts:
    """Counts of one forward pass at batch 1.

    params: distinct parameters (elements).  macs: multiply-accumulates.
    elementwise: all arithmetic other than MACs, by these conventions; it includes `products`.
    products: element-wise products of two activations.
    activations: elements written (views write nothing).
    bytes_moved: bytes read and written if every operation is a separate kernel; depends on how the module is written.
    calls: operations executed, without views; eager execution has an overhead for each; depends on it, too.
    """

    params: int
    macs: int
    elementwise: int
    products: int
    activations: int
    bytes_moved: int
    calls: int


@dataclass(frozen=True)
class Cost(Counts):
    """`Counts` of a whole module.

    peak_activation_bytes: peak memory of the input and of the tensors made in the forward pass; an estimate without
        workspaces that depends on how the module is written.
    by_kind: convolution, grouped_convolution, matrix_product (attention, too) or other -> (calls, macs).
    by_module: path of each sub-module ("" is the module itself) -> its counts with those of its children.
    """

    peak_activation_bytes: int
    by_kind: dict[str, tuple[int, int]] = field(repr=False)
    by_module: dict[str, Counts] = field(repr=False)


class Form(NamedTuple):
    """The properties of a module's input that determine its counts; `activation`: it depends on the network's input."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    activation: bool

    @classmethod
    def of(cls, tensor: Tensor, *, activation: bool) -> "Form":
        """The form of a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, activation)

    @classmethod
    def of_inputs(cls, shapes: Sequence[InputShape], dtype: torch.dtype = torch.float32) -> "list[Form]":
        """The forms of a network's inputs (1, *shape), floats of `dtype`."""
        return [cls.of(one, activation=True) for one in zeros(shapes, 1, dtype=dtype, device="meta")]


def cost(module: nn.Module, *shapes: InputShape) -> Cost:
    """Count one forward pass of `module` on inputs (1, *shape), a shape for each, such as (C, H, W); or `Tokens`.

    Allocates no weights and does not change the module: a module with weights is counted on a weightless copy, one on
    the meta device directly. Raises MeasurementError, naming the sub-module, if the forward pass fails, needs the value
    of a tensor (data-dependent control flow), uses an operation of unknown cost (`hadnas.measure.aten`), or returns
    anything but one tensor.
    """
    check_kind(module, nn.Module, "module", "an nn.Module, such as hadnas.build(arch, task)")
    for shape in shapes or ((),):
        if not is_shape(shape) or any(not isinstance(n, int) or n < 1 for n in shape):
            raise MeasurementError(f"input shape {shape!r}: allowed are {SHAPES_ALLOWED}, of positive integers")
    for name, p in module.named_parameters():
        if nn.parameter.is_lazy(p):
            raise MeasurementError(f"parameter {name!r} has no shape yet: run the module once before you count it")
    module = uncompiled(module)
    registered = (*module.parameters(), *module.buffers())
    # without any, the module may still have unregistered tensors with values
    on_meta = bool(registered) and all(t.is_meta for t in registered)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    found, outputs = counted(module if on_meta else weightless(module), *Form.of_inputs(shapes, dtype))
    if len(outputs) != 1:
        raise MeasurementError(f"the module ({type(module).__name__}) returns a tuple: one tensor is allowed")
    return found


def counted(module: nn.Module, *forms: Form) -> tuple[Cost, tuple[Form, ...]]:
    """The cost of a module without weights on inputs of these forms, and the forms of its outputs.

    Raises as `cost`, but a tuple of several tensors is allowed.
    """
    counter = Counter(module)
    inputs = [torch.empty_strided(form.shape, form.stride, dtype=form.dtype, device="meta") for form in forms]
    with evaluation(module), following(module, counter) as running:
        try:
            # inference mode does not decompose composite operations (attention, linear, normalisation)
            with torch.inference_mode(), torch.device("meta"), counter:
                for one, form in zip(inputs, forms, strict=True):
                    counter.track(one, activation=form.activation)
                out = module(*inputs)
        except Exception as error:
            path = running[-1] if running else ""
            name = f"{path or 'the module'} ({type(module.get_submodule(path)).__name__})"
            line = first_line(error)
            reason = line if isinstance(error, MeasurementError) else f"{type(error).__name__}: {line}"
            found = shapes_text(tuple(inputs))
            raise MeasurementError(f"{name}: forward failed on a meta input {found}: {reason}") from error
    outputs = out if isinstance(out, tuple) and len(out) > 1 else (out,)
    for one in outputs:
        if not isinstance(one, Tensor):
            raise MeasurementError(
                f"the module ({type(module).__name__}) returns a {type(one).__name__}: one tensor is allowed"
            )
    return _sum_up(module, counter), tuple(Form.of(one, activation=counter.is_activation(one)) for one in outputs)


def _sum_up(module: nn.Module, counter: Counter) -> Cost:
    totals = {path: [0] * 6 for path, _ in module.named_modules()}
    for path, own in counter.own.items():
        while True:  # add the counts to the sub-module and to every module around it
            totals[path] = [a + b for a, b in zip(totals[path], own, strict=True)]
            if not path:
                break
            path = path.rpartition(".")[0]
    by_module = {
        path: Counts(sum(p.numel() for p in sub.parameters()), *totals[path]) for path, sub in module.named_modules()
    }
    return Cost(
        **vars(by_module[""]),
        peak_activation_bytes=counter.peak,
        by_kind={name: (calls, macs) for name, (calls, macs) in counter.kinds.items()},
        by_module=by_module,
    )


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every sub-module has its earlier mode again."""
    before = [(sub, sub.training) for sub in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for sub, training in before:
            sub.training = training
