"""The latency of a forward pass, and its ratio to a fixed reference network timed alternately with it.

A change of load or clock frequency affects candidate and reference alike, so the median of the pairwise ratios is
reproducible, while milliseconds drift. On one CPU thread the clock is that thread's CPU time, which excludes other
processes. Only one measurement runs on a host at a time, by a file lock in the temporary directory.
"""

import hashlib
import json
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from hadnas.errors import MeasurementError, check_kind, cut
from hadnas.inputs import Inputs, InputShape, cast, drawn, shapes_text, size_of
from hadnas.limits import THREADS, check_memory
from hadnas.measure.copies import copied
from hadnas.measure.latency import reference as fixed
from hadnas.measure.latency.backends import BACKENDS, ForwardPass, check_backend, require_backend, versions
from hadnas.measure.latency.pairs import NOISY, Pairs, Samples, relative_iqr, trusted

LOCK = "hadnas-latency.lock"


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass (milliseconds per call, of a whole batch) and its ratio to the reference.

    Each sample is the mean of as many calls as fill 10 ms; median, 90th percentile and minimum are over the samples.
    With one CPU thread it is that thread's CPU time, without other processes and without threads that a module starts;
    with more threads it is wall time, on CUDA the time between two events.
    iqr, ratio_iqr: interquartile range over median.  n: pairs of samples.
    noisy: the ratio's interquartile range is above 5 %, also in a second measurement.
    protocol: everything that defines the measurement; `protocol_key` is its hash.
    """

    median_ms: float
    p90_ms: float
    min_ms: float
    iqr: float
    n: int
    ratio: float
    ratio_iqr: float
    noisy: bool
    protocol: dict[str, Any] = field(repr=False)

    @property
    def protocol_key(self) -> str:
        return protocol_key(self.protocol)


def protocol(
    *shapes: InputShape,
    reference: nn.Module | None = None,
    batch: int = 1,
    device: torch.device | str = "cpu",
    threads: int = 1,
    dtype: torch.dtype | None = None,
    backend: str = "eager",
) -> dict[str, Any]:
    """Everything that defines a latency measurement, as plain data; known before anything is measured."""
    check_backend(backend)
    device = _device(device)
    custom = f"{type(reference).__name__}-{_hash(repr(reference))}"
    return {
        "shape": list(shapes[0]) if len(shapes) == 1 else [list(shape) for shape in shapes],
        "batch": batch,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": threads,
        "clock": _clock(device, threads),
        "dtype": str(dtype or torch.float32).removeprefix("torch."),
        "memory_format": "contiguous",
        "backend": backend,
        "reference": fixed.NAME if reference is None else custom,
        "versions": versions(backend),
    }


def protocol_key(protocol: dict[str, Any]) -> str:
    """A short hash, equal in every process: latencies of different keys are not comparable."""
    return _hash(json.dumps(protocol, sort_keys=True))


def latency(
    module: nn.Module,
    *shapes: InputShape,
    reference: nn.Module | None = None,
    batch: int = 1,
    device: torch.device | str | None = None,
    threads: int = 1,
    dtype: torch.dtype | None = None,
    backend: str = "eager",
    seconds: float = 8.0,
) -> Latency:
    """Time `module` on inputs (batch, *shape), in evaluation mode without gradients.

    shapes: one for each input, such as (C, H, W), or `Tokens`.

    device: "cpu" or "cuda"; that of the module's parameters if None.  dtype: float32 if None.
    backend: "eager", "compile", "onnxruntime" or "int8".  seconds: for warm-up and timing together, without compiling,
    exporting, the first call, waiting for another measurement on this host, and the end of the five pairs that are
    always measured; a module that sleeps takes longer, since samples are sized by the thread's CPU time.
    reference: hadnas's own if None (`reference`).

    Copies are timed, in another thread, without the caller's autocast: the module, the number of threads and the random
    state do not change; the backend "compile" resets torch.compile.
    Raises MeasurementError if the module has no weights (meta device) or fails, or if the backend cannot run it;
    UnknownName for an unknown backend.
    """
    check_kind(module, nn.Module, "module", "an nn.Module, such as hadnas.build(arch, task)")
    device = _device(device if device is not None else next((p.device for p in module.parameters()), "cpu"))
    require_backend(backend, device)
    dtype = dtype or torch.float32
    sizes = [n for shape in shapes for n in shape]
    whole = all(isinstance(n, int) and n > 0 for n in (batch, threads, *sizes))
    if not shapes or not whole or not 0 < seconds < math.inf:
        found = f"shape {', '.join(map(str, shapes)) or 'none'}, batch {batch}, threads {threads}, seconds {seconds}"
        raise MeasurementError(f"{found}; allowed are positive integers, and positive seconds")
    if threads > THREADS:
        raise MeasurementError(f"threads = {cut(threads)} is not allowed; allowed are up to {THREADS}")
    elements = sum(math.prod(size_of(shape)) for shape in shapes)
    check_memory(2 * 4 * batch * elements, f"two batches of {batch} inputs {', '.join(map(str, shapes))}")
    known = protocol(
        *shapes, reference=reference, batch=batch, device=device, threads=threads, dtype=dtype, backend=backend
    )
    if any(t.is_meta for t in (*module.parameters(), *module.buffers())):
        raise MeasurementError(f"the module ({type(module).__name__}) is on the meta device: no weights, no latency")
    random = drawn(shapes, batch, torch.rand, torch.Generator().manual_seed(0))
    inputs = tuple(one.to(device) for one in cast(random, dtype))
    stop = Event()

    def measure() -> Samples:
        with _threads(threads), torch.inference_mode():
            image = fixed.image_of(inputs)
            other = (fixed.reference(image.shape[1]), (image,)) if reference is None else (reference, inputs)
            candidate, against = (_ready(*each, threads, backend) for each in ((module, inputs), other))
            pairs = Pairs(candidate, against, device, known["clock"], stop)
            start = time.perf_counter()
            with _named(module, inputs, backend):
                pairs.warm_up(seconds / 4)
                parts = [pairs.measure(start + seconds * 0.6)]
                if time.perf_counter() < start + seconds:  # the first pairs of a large network may take all the time
                    parts.append(pairs.measure(start + seconds))
            return trusted(parts)

    with alone():
        if backend == "compile":
            torch.compiler.reset()  # after a few networks of one class torch.compile silently runs them eagerly
        samples = _in_thread(measure, stop)
    times, ratios = samples.times, samples.ratios
    return Latency(
        median_ms=statistics.median(times),
        p90_ms=statistics.quantiles(times, n=10, method="inclusive")[-1],
        min_ms=min(times),
        iqr=relative_iqr(times),
        n=len(times),
        ratio=statistics.median(ratios),
        ratio_iqr=relative_iqr(ratios),
        noisy=relative_iqr(ratios) > NOISY,
        protocol=known,
    )


def _clock(device: torch.device, threads: int) -> str:
    if device.type == "cuda":
        return "events"
    fine = time.get_clock_info("thread_time").resolution < 1e-6  # on Windows it is 16 ms
    return "thread" if threads == 1 and fine else "wall"


def _ready(module: nn.Module, inputs: Inputs, threads: int, backend: str) -> ForwardPass:
    """A copy of the module on the backend, with the inputs' device and dtype, called once."""
    with _named(module, inputs, backend):
        dtype = next((one.dtype for one in inputs if one.is_floating_point()), torch.float32)
        twin = copied(module).to(inputs[0].device, dtype).to(memory_format=torch.contiguous_format)
        twin.eval().requires_grad_(False)
        call = BACKENDS[backend].run(twin, tuple(one.clone() for one in inputs), threads)
        call()
    return call


@contextmanager
def _named(module: nn.Module, inputs: Inputs, backend: str) -> Iterator[None]:
    """Add the module, the inputs, the backend and the device to the message of a failure."""
    try:
        yield
    except MeasurementError:
        raise
    except Exception as error:
        raise MeasurementError(
            f"the module ({type(module).__name__}) failed on an input {shapes_text(inputs)}, backend {backend!r}, "
            f"device {str(inputs[0].device)!r}: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other measurement runs on this host; reentrant in a process."""
    path = Path(tempfile.gettempdir()) / LOCK
    try:
        lock = FileLock(path, mode=0o666, is_singleton=True)
        lock.acquire()
    except PermissionError as error:
        raise MeasurementError(
            f"{path} belongs to another user, but all users of a host must share this lock ({error})"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _in_thread(work: Callable[[], Samples], stop: Event) -> Samples:
    """The result of `work`, run in a new thread; on Ctrl-C sets `stop` and waits for its end.

    The interpreter stores the frames of a thread in pieces of 16 kB: if the caller's frames end near the end of a
    piece, every call of a module maps and unmaps the next. The ratio of a small network was 1.05 to 1.22 from most
    callers, and .84 to 2.1 from callers at depths of 96 to 108 or 234 to 246 frames (44 depths).
    """
    done: Future[Samples] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = Thread(target=run, daemon=True)  # daemon: a second Ctrl-C, as during a compilation, exits without it
    thread.start()
    try:
        return done.result()
    except BaseException:
        stop.set()
        thread.join()
        raise


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(name: torch.device | str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise MeasurementError(f"device {str(name)!r}; allowed are 'cpu' and 'cuda'") from None
    if device.type == "meta":
        raise MeasurementError("the module is on the meta device: no weights, no latency")
    if device.type not in ("cpu", "cuda"):
        raise MeasurementError(f"device {str(device)!r}; allowed are 'cpu' and 'cuda'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MeasurementError(f"device {str(device)!r}: torch finds no CUDA device on this host")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())  # the current device differs between threads
    return device


def _processor() -> str:
    """The CPU's model name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
