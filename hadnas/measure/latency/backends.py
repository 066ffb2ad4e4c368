"""Backends that run a network for `hadnas.measure.latency.latency`, by name. To add one, add an entry to `BACKENDS`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

from hadnas.errors import BuildError, MeasurementError, unknown
from hadnas.inputs import Inputs
from hadnas.measure.onnx import as_int8, as_onnx, require_onnx

ForwardPass = Callable[[], Any]


@dataclass(frozen=True)
class Backend:
    """A way to run a network.

    run        takes a module in evaluation mode, its inputs on the same device and the number of threads, and returns
               a function without arguments
    require    raises MeasurementError if the backend cannot run on this device, or a library is missing
    libraries  whose versions define a measurement, beside torch's
    """

    run: Callable[[nn.Module, Inputs, int], ForwardPass]
    require: Callable[[torch.device], None] = lambda device: None
    libraries: tuple[str, ...] = ()


def eager(module: nn.Module, inputs: Inputs, threads: int) -> ForwardPass:
    """The module itself, one kernel per operation."""
    return lambda: module(*inputs)


def compiled(module: nn.Module, inputs: Inputs, threads: int) -> ForwardPass:
    """`torch.compile` with static shapes; the first call compiles."""
    fast = torch.compile(module, dynamic=False)
    return lambda: fast(*inputs)


def onnxruntime(module: nn.Module, inputs: Inputs, threads: int, *, int8: bool = False) -> ForwardPass:
    """ONNX Runtime on the CPU, from an export in memory. Raises MeasurementError if it cannot export.

    int8: with weights and activations of 8 bits, their ranges calibrated on these inputs
    """
    import onnxruntime as ort

    for dtype in (one.dtype for one in inputs if one.is_floating_point()):
        if dtype != torch.float32:
            raise MeasurementError(f"backend 'onnxruntime' with dtype {dtype}: torch.float32 is allowed")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    names = [f"input_{place}" for place in range(len(inputs))]
    try:
        content = as_onnx(module, inputs, names=names)
    except BuildError as error:
        raise MeasurementError(f"backend 'onnxruntime': {error}") from error
    feed = {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
    if int8:
        content = as_int8(content, [feed])
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feed)


def _require_onnxruntime(device: torch.device) -> None:
    if device.type != "cpu":
        raise MeasurementError(f"backend 'onnxruntime' on device {str(device)!r}: 'cpu' is allowed")
    try:
        require_onnx()
    except BuildError as error:
        raise MeasurementError(f"backend 'onnxruntime': {error}") from error


BACKENDS = {
    "eager": Backend(eager),
    "compile": Backend(compiled),
    "onnxruntime": Backend(onnxruntime, _require_onnxruntime, ("onnxruntime",)),
    "int8": Backend(partial(onnxruntime, int8=True), _require_onnxruntime, ("onnxruntime",)),
}


def check_backend(name: str) -> None:
    """Raise UnknownName for a backend that does not exist."""
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)


def require_backend(name: str, device: torch.device | str = "cpu") -> None:
    """Raise UnknownName for a backend that does not exist, MeasurementError for one that cannot run here."""
    check_backend(name)
    BACKENDS[name].require(torch.device(device))


def versions(name: str) -> dict[str, str]:
    """The versions of a backend's libraries; "missing" for one that is not installed."""
    return {"torch": str(torch.__version__)} | {library: _installed(library) for library in BACKENDS[name].libraries}


def _installed(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "missing"
