"""One latency measurement, taken only if the ledger has none."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

from torch import nn

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.measure.latency.latency import alone, latency, protocol, protocol_key
from hadnas.store.ledger import Ledger
from hadnas.store.records import StoredLatency

SECONDS = 0.6
"""Of warm-up and timing; with copies and the first call a candidate's eager latency takes at most 1.5 s."""


Quiet = Callable[[], AbstractContextManager[None]]
"""A context in which this process does nothing else, so that a timing is not disturbed."""


def timed(
    arch: Arch,
    task: Task,
    code: str,
    fresh: Callable[[], nn.Module],
    ledger: Ledger,
    *,
    device: str,
    backend: str,
    quiet: Quiet = nullcontext,
) -> StoredLatency:
    """The latency of `arch` at batch 1 on one thread; `fresh()` is built and timed only if the ledger has none.

    `code` is a hash of the blocks: an edited block is a new block. The architecture must be in the ledger. Raises
    MeasurementError if the module or the backend fails, UnknownName for a backend that does not exist.
    """
    said = protocol(*task.shapes, device=device, backend=backend)
    key = protocol_key(said)
    place = arch.fingerprint, str(task), code, key
    known = ledger.measured.get_latency(*place)
    if known is not None:
        return known
    # Measurements on one machine wait for each other: the one before may have been this one.
    with alone():
        if (known := ledger.measured.get_latency(*place)) is None:
            module = fresh()
            with quiet():
                taken = asdict(latency(module, *task.shapes, device=device, backend=backend, seconds=SECONDS))
            ledger.measured.put_latency(*place, taken.pop("protocol"), taken)
            known = ledger.measured.get_latency(*place)
    assert known is not None
    return known
