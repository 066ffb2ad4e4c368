"""The heap of this process while something is timed: what one call frees is there for the next.

glibc gives the activations of a large batch back to the system after a call and has them faulted in again, page by
page, in the next, or does not, as they happen to lie: a third of the time of some networks, another share in another
process. At 32 x 3 x 224 x 224 the ratio of resnet18 was 10.1 to 17.6 in six processes; where what is freed is kept it
was 16.8 to 17.7 in six (at batch 1: 14.8 to 15.2). Allocators that people serve networks with keep it, too.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

M_TOP_PAD, M_MMAP_MAX = -2, -4  # of malloc.h
KEPT_BYTES = 2**26  # that may lie free at the end of a thread's heap: all of it, so that none is given back
USUAL_BYTES, USUAL_MAPS = 2**17, 2**16  # what glibc starts with
FREED_BYTES = 2**25 - 2**13  # the largest block, nearly, from which glibc learns when it is freed

mallopt = getattr(ctypes.pythonapi, "mallopt", None)  # glibc's; other systems have none, and nothing is changed there


@contextmanager
def kept() -> Iterator[None]:
    """Keep what is freed, as far as glibc can: in a thread a block above 64 MB is the system's own in every call.

    Afterwards glibc's own settings hold, also where the caller had others (`MALLOC_TOP_PAD_`, `MALLOC_MMAP_MAX_`).
    """
    # A process that never freed a large block gives memory back after each call, too (450 page faults, 8 % of the time
    # of mobilenetv3_small_100 at batch 1); one that trained does not.
    torch.empty(FREED_BYTES, dtype=torch.uint8)
    if mallopt is None:
        yield
        return
    mallopt(M_TOP_PAD, KEPT_BYTES)
    mallopt(M_MMAP_MAX, 0)
    try:
        yield
    finally:
        mallopt(M_TOP_PAD, USUAL_BYTES)
        mallopt(M_MMAP_MAX, USUAL_MAPS)
