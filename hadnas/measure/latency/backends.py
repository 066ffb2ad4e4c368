"""Backends that run a network for `hadnas.measure.latency.latency`.

Each takes a module in evaluation mode and an input on the same device, and returns a function without arguments.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from hadnas.errors import BuildError, MeasurementError, unknown
from hadnas.measure.onnx import as_onnx, require_onnx

ForwardPass = Callable[[], Any]


def eager(module: nn.Module, image: Tensor, threads: int) -> ForwardPass:
    """The module itself, one kernel per operation."""
    return lambda: module(image)


def compiled(module: nn.Module, image: Tensor, threads: int) -> ForwardPass:
    """`torch.compile` with static shapes; the first call compiles."""
    fast = torch.compile(module, dynamic=False)
    return lambda: fast(image)


def onnxruntime(module: nn.Module, image: Tensor, threads: int) -> ForwardPass:
    """ONNX Runtime on the CPU, from an export in memory. Raises MeasurementError if it cannot export or run."""
    if image.device.type != "cpu":
        raise MeasurementError(f"backend 'onnxruntime' on device {str(image.device)!r}: 'cpu' is allowed")
    if image.dtype != torch.float32:
        raise MeasurementError(f"backend 'onnxruntime' with dtype {image.dtype}: torch.float32 is allowed")
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MeasurementError("backend 'onnxruntime' needs the extra 'onnx': pip install 'hadnas[onnx]'") from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        content = as_onnx(module, image)
    except BuildError as error:
        raise MeasurementError(f"backend 'onnxruntime': {error}") from error
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: image.numpy()}
    return lambda: session.run(None, feed)


BACKENDS: dict[str, Callable[[nn.Module, Tensor, int], ForwardPass]] = {
    "eager": eager,
    "compile": compiled,
    "onnxruntime": onnxruntime,
}


def check_backend(name: str) -> None:
    """Raise UnknownName for a backend that does not exist."""
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)


def require_backend(name: str, device: str = "cpu") -> None:
    """Raise UnknownName for a backend that does not exist, MeasurementError for one that cannot run here."""
    check_backend(name)
    if name == "onnxruntime":
        if torch.device(device).type != "cpu":
            raise MeasurementError(f"backend 'onnxruntime' on device {device!r}: 'cpu' is allowed")
        try:
            require_onnx()
        except BuildError as error:
            raise MeasurementError(f"backend 'onnxruntime': {error}") from error


def versions(name: str) -> dict[str, str]:
    """The versions of a backend's libraries; "missing" for one that is not installed."""
    found = {"torch": str(torch.__version__)}
    if name == "onnxruntime":
        try:
            found["onnxruntime"] = version("onnxruntime")
        except PackageNotFoundError:
            found["onnxruntime"] = "missing"
    return found
