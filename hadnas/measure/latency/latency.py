"""How long a forward pass takes, as a ratio to a fixed reference network timed in turn with it.

Candidate and reference are timed alternately, so that a load or a clock that changes hits both; the median of the
pairwise ratios is what repeats between processes, while milliseconds drift. On one thread of a CPU the clock is that
thread's own, which stands still while another process has the core. Only one measurement runs on a host at a time: a
file lock in the temporary directory keeps others waiting.
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
from torch import Tensor, nn

from hadnas.errors import MeasurementError, cut
from hadnas.limits import THREADS, check_memory
from hadnas.measure.copies import copied
from hadnas.measure.latency import reference as fixed
from hadnas.measure.latency.backends import BACKENDS, Call, check, versions
from hadnas.measure.latency.pairs import NOISY, Pairs, Taken, spread, trusted

LOCK = "hadnas-latency.lock"


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass (milliseconds per call, of a whole batch) and its ratio to the reference.

    Each sample is the mean of as many calls as fill 10 ms; median, 90th percentile and minimum are over these. With one
    thread on a CPU it is that thread's time: what other processes take is not in it, nor what a module leaves to
    threads of its own; with more it is the time that passes, on CUDA that between two events.
    iqr, ratio_iqr: interquartile range over median.  n: pairs of samples.
    noisy: the ratio's range stayed above 5 %, also when measured again.
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
    shape: tuple[int, int, int],
    *,
    reference: nn.Module | None = None,
    batch: int = 1,
    device: torch.device | str = "cpu",
    threads: int = 1,
    dtype: torch.dtype | None = None,
    backend: str = "eager",
) -> dict[str, Any]:
    """Everything that defines a latency measurement, as plain data; known before anything is measured."""
    check(backend)
    device = _device(device)
    own = f"{type(reference).__name__}-{_hash(repr(reference))}"
    return {
        "shape": list(shape),
        "batch": batch,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": threads,
        "clock": _clock(device, threads),
        "dtype": str(dtype or torch.float32).removeprefix("torch."),
        "memory_format": "contiguous",
        "backend": backend,
        "reference": fixed.NAME if reference is None else own,
        "versions": versions(backend),
    }


def protocol_key(protocol: dict[str, Any]) -> str:
    """A short hash, the same in every process: latencies of different keys are not comparable."""
    return _hash(json.dumps(protocol, sort_keys=True))


def latency(
    module: nn.Module,
    shape: tuple[int, int, int],
    *,
    reference: nn.Module | None = None,
    batch: int = 1,
    device: torch.device | str | None = None,
    threads: int = 1,
    dtype: torch.dtype | None = None,
    backend: str = "eager",
    seconds: float = 8.0,
) -> Latency:
    """Time `module` on an input (batch, *shape), shape = (C, H, W), in evaluation mode without gradients.

    device: "cpu" or "cuda"; that of the module's parameters if None.  dtype: float32 if None.
    backend: "eager", "compile" or "onnxruntime".  seconds: for warm-up and timing together; compiling, exporting,
    the first call, waiting for another measurement on this host, and the last of at least five pairs come on top; a
    module that sleeps makes samples long, as they are filled by the thread's own time.
    reference: hadnas's own if None (`reference`).

    Copies are timed, in another thread, which the caller's autocast does not reach: the module, the number of threads
    and the random state are left as they were; the backend "compile" forgets what torch.compile had compiled before.
    Raises MeasurementError where the module has no weights (meta device) or fails, or the backend cannot run it;
    UnknownName for an unknown backend.
    """
    check(backend)
    device = _device(device if device is not None else next((p.device for p in module.parameters()), "cpu"))
    dtype = dtype or torch.float32
    if not all(isinstance(n, int) and n > 0 for n in (batch, threads, *shape)) or not 0 < seconds < math.inf:
        said = f"shape {tuple(shape)}, batch {batch}, threads {threads}, seconds {seconds}"
        raise MeasurementError(f"{said}: positive numbers are allowed, whole ones but for the seconds")
    if threads > THREADS:
        raise MeasurementError(f"threads = {cut(threads)} is not allowed; allowed are up to {THREADS}")
    check_memory(2 * 4 * batch * math.prod(shape), f"two batches of {batch} inputs {tuple(shape)}")
    known = protocol(
        shape, reference=reference, batch=batch, device=device, threads=threads, dtype=dtype, backend=backend
    )
    if any(t.is_meta for t in (*module.parameters(), *module.buffers())):
        raise MeasurementError(f"the module ({type(module).__name__}) is on the meta device: no weights, no latency")
    image = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0), device="cpu").to(device, dtype)
    stop = Event()

    def take() -> Taken:
        with _threads(threads), torch.inference_mode():
            other = reference or fixed.reference(shape[0])
            candidate, against = (_ready(each, image, threads, backend) for each in (module, other))
            pairs = Pairs(candidate, against, device, known["clock"], stop)
            start = time.perf_counter()
            with _named(module, image, backend):
                pairs.warm_up(seconds / 4)
                parts = [pairs.take(start + seconds * 0.6)]
                if time.perf_counter() < start + seconds:  # the fewest pairs of a large network may have taken it all
                    parts.append(pairs.take(start + seconds))
            return trusted(parts)

    with alone():
        if backend == "compile":
            torch.compiler.reset()  # past a few networks of one class torch.compile silently runs them eagerly
        taken = _in_thread(take, stop)
    times, ratios = taken.times, taken.ratios
    return Latency(
        median_ms=statistics.median(times),
        p90_ms=statistics.quantiles(times, n=10, method="inclusive")[-1],
        min_ms=min(times),
        iqr=spread(times),
        n=len(times),
        ratio=statistics.median(ratios),
        ratio_iqr=spread(ratios),
        noisy=spread(ratios) > NOISY,
        protocol=known,
    )


def _clock(device: torch.device, threads: int) -> str:
    if device.type == "cuda":
        return "events"
    fine = time.get_clock_info("thread_time").resolution < 1e-6  # Windows counts it in ticks of 16 ms
    return "thread" if threads == 1 and fine else "wall"


def _ready(module: nn.Module, image: Tensor, threads: int, backend: str) -> Call:
    """A copy of the module on the input's device, in its dtype, on the backend, called once."""
    with _named(module, image, backend):
        twin = copied(module).to(image.device, image.dtype).to(memory_format=torch.contiguous_format)
        twin.eval().requires_grad_(False)
        call = BACKENDS[backend](twin, image.clone(), threads)
        call()
    return call


@contextmanager
def _named(module: nn.Module, image: Tensor, backend: str) -> Iterator[None]:
    """Say of a failure which module failed on what."""
    try:
        yield
    except MeasurementError:
        raise
    except Exception as error:
        raise MeasurementError(
            f"the module ({type(module).__name__}) failed on an input {tuple(image.shape)}, backend {backend!r}, "
            f"device {str(image.device)!r}: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other measurement runs on this host; one within another is the same one."""
    path = Path(tempfile.gettempdir()) / LOCK
    try:
        lock = FileLock(path, mode=0o666, is_singleton=True)
        lock.acquire()
    except PermissionError as error:
        raise MeasurementError(
            f"{path} belongs to another user: one shared lock per host is needed ({error})"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _in_thread(work: Callable[[], Taken], stop: Event) -> Taken:
    """The result of `work`, done in a thread of its own; on Ctrl-C, `stop` is set, and its end waited for.

    The interpreter keeps the frames of a thread in pieces of 16 kB: where those of the caller end near the end of a
    piece, every call of a module maps and unmaps the next. The ratio of a small network, 1.05 to 1.22 from most
    callers, was .84 to 2.1 from those whose own frames were 96 to 108 or 234 to 246 deep (44 depths).
    """
    done: Future[Taken] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = Thread(target=run, daemon=True)  # a second Ctrl-C, as while something compiles, leaves it behind
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
        raise MeasurementError(f"device {str(name)!r}: 'cpu' and 'cuda' are allowed") from None
    if device.type == "meta":
        raise MeasurementError("the module is on the meta device: no weights, no latency")
    if device.type not in ("cpu", "cuda"):
        raise MeasurementError(f"device {str(device)!r}: 'cpu' and 'cuda' are allowed")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MeasurementError(f"device {str(device)!r}: torch finds no CUDA device on this host")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())  # another thread has another current one
    return device


def _processor() -> str:
    """The model of the CPU, as the kernel names it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
