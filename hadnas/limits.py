"""The largest allowed numbers: a typing error is refused before memory is allocated or time is spent."""

import math
import os

from hadnas.errors import MachineError

SEED = 2**62
"""The largest training seed: the ledger stores 64 bits, and the finals add to the study's seed."""

SPLIT_SEED = 2**32 - 1
"""The largest seed of scikit-learn, which splits data and folds."""

COUNT = 10**9
"""The most trials, epochs, images in a batch, rows or candidates."""

THREADS = 1024
"""The most threads of a measurement."""

WIDTH = 2**20
"""The most channels, classes, or pixels along a side of a network's input."""

SIDE = 2**14
"""The largest side in pixels to which images are resized."""


def memory() -> float:
    """Bytes of this machine's memory; infinite if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return math.inf


def check_memory(needed: int, what: str) -> None:
    """Raise MachineError if `what` needs more bytes than this machine has; Linux would kill the process instead."""
    if needed > (found := memory()):
        gib = 2**30
        raise MachineError(f"memory for {what}: {needed / gib:,.1f} GiB; this machine has {found / gib:,.1f}")
