"""Latencies through the ledger: each is taken once by its protocol, and from then on told back."""

from collections.abc import Callable
from dataclasses import asdict

from torch import nn

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.measure.latency.latency import alone, latency, protocol, protocol_key
from hadnas.store.ledger import Ledger
from hadnas.store.records import Latency

SECONDS = 0.6
"""Of warm-up and timing; with copying and the first call a candidate's eager latency takes at most 1.5 s."""


def timed(
    arch: Arch, task: Task, code: str, fresh: Callable[[], nn.Module], ledger: Ledger, *, device: str, backend: str
) -> Latency:
    """The latency of `arch` at batch 1 on one thread; only where the ledger has none is `fresh()` built and timed.

    An edited block is a new block: the ledger is asked for a latency of its `code`, a hash.
    The ledger must know the architecture. Raises MeasurementError where the module or the backend fails, UnknownName
    for a backend that does not exist.
    """
    said = protocol(task.shape, device=device, backend=backend)
    key = protocol_key(said)
    place = arch.fingerprint, str(task), code, key
    known = ledger.measured.get_latency(*place)
    if known is not None:
        return known
    # Measurements on a host wait for each other: what was waited for may be what is asked for.
    with alone():
        if (known := ledger.measured.get_latency(*place)) is None:
            taken = asdict(latency(fresh(), task.shape, device=device, backend=backend, seconds=SECONDS))
            ledger.measured.put_latency(*place, taken.pop("protocol"), taken)
            known = ledger.measured.get_latency(*place)
    assert known is not None
    return known
