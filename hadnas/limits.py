"""The largest numbers that are taken: a slip of the keyboard is refused before it is allocated or waited for."""

import math
import os

from hadnas.errors import MachineError

SEED = 2**62
"""The largest seed of a training: the ledger keeps 64 bits, and the finals count on from it."""

SPLIT_SEED = 2**32 - 1
"""The largest seed that scikit-learn takes, which splits data and folds."""

COUNT = 10**9
"""The most trials, epochs, images in a batch, rows or candidates."""

THREADS = 1024
"""The most threads of a measurement."""

WIDTH = 2**20
"""The most channels, classes, or pixels along a side of a network's input."""

SIDE = 2**14
"""The largest side in pixels to which images are resized."""


def memory() -> float:
    """Bytes of memory that this machine has; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return math.inf


def check_memory(needed: int, what: str) -> None:
    """Raise MachineError where `what` needs more bytes than this machine has; Linux would end the process instead."""
    if needed > (found := memory()):
        gib = 2**30
        raise MachineError(f"memory for {what}: {needed / gib:,.1f} GiB; this machine has {found / gib:,.1f}")
