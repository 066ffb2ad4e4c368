"""Two calls sampled in turn, from one layout in memory after another.

Where weights and activations lie decides which of them push each other out of the caches: a layout makes a network some
per cent faster or slower for as long as it lasts, and another process has another one. So copies of the networks are
visited in turn, and while one is visited, blocks of memory are held that make its activations lie elsewhere than in the
visit before (Curtsinger and Berger, "Stabilizer", ASPLOS 2013).
"""

import gc
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from threading import Event

import torch

from hadnas.measure.latency.backends import Call

NOISY = 0.05  # relative interquartile range of the ratio above which a measurement is repeated, then flagged
SAMPLE_MS = 10.0  # half as long ones of a small network spread by 5 to 8 % without any load
FEWEST_PAIRS = 5
VISIT = 4  # pairs taken from one layout
HELD, HELD_BYTES = 8, (2**12, 2**22)  # blocks held during a visit, and between what sizes: those of activations
CLOCKS = {"thread": time.thread_time_ns, "wall": time.perf_counter_ns}  # and "events" on CUDA


@dataclass(frozen=True)
class Taken:
    """What was sampled, pair by pair."""

    times: list[float]  # of the candidate, milliseconds per call
    ratios: list[float]  # candidate over reference


def spread(values: list[float]) -> float:
    """The interquartile range over the median."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def trusted(parts: list[Taken]) -> Taken:
    """All that was taken or, where that is noisy, the quieter part."""
    whole = Taken([t for part in parts for t in part.times], [r for part in parts for r in part.ratios])
    return whole if spread(whole.ratios) <= NOISY else min(parts, key=lambda part: spread(part.ratios))


class Pairs:
    """Candidate and reference, sampled in turn; `calls` has a pair of them for every copy.

    Once `stop` is set, the next sample raises KeyboardInterrupt.
    """

    def __init__(self, calls: list[tuple[Call, Call]], device: torch.device, clock: str, stop: Event) -> None:
        self.calls = cycle(calls)
        self.device = device
        self.clock = clock
        self.stop = stop
        self.repeats = [1, 1]  # calls in one sample
        self.random = random.Random(0)

    def warm_up(self, seconds: float) -> None:
        """Run both until three times in a row agree within 5 %, at most `seconds`; then size the samples."""
        end = time.perf_counter() + seconds
        times: list[list[float]] = [[], []]
        both = next(self.calls)
        while True:
            for of_one, took in zip(times, self.pair(both), strict=True):
                of_one.append(took)
            last = [t[-3:] for t in times]
            steady = len(times[0]) >= 3 and all(max(t) <= 1.05 * min(t) for t in last)
            if steady or time.perf_counter() > end:
                break
        self._size([min(t) for t in times])

    def _size(self, fastest: list[float]) -> None:
        """Let samples of both last equally long, at least SAMPLE_MS: a longer one is interrupted more often."""
        length = max(1.2 * SAMPLE_MS, *fastest)  # a fifth in reserve, as a later call may be faster still
        self.repeats = [max(1, round(length / t)) for t in fastest]

    def pair(self, both: tuple[Call, Call]) -> tuple[float, float]:
        """Milliseconds per call of both."""
        return self.sample(both[0], self.repeats[0]), self.sample(both[1], self.repeats[1])

    def sample(self, call: Call, repeats: int) -> float:
        """Milliseconds per call."""
        if self.stop.is_set():
            raise KeyboardInterrupt
        if self.clock == "events":
            return _cuda_sample(call, repeats, self.device)
        now = CLOCKS[self.clock]
        start = now()
        for _ in range(repeats):
            call()
        return (now() - start) / 1e6 / repeats

    def take(self, until: float) -> Taken:
        """Pairs of samples until the clock says `until`, but at least a few."""
        taken = Taken([], [])
        with _no_garbage():
            while len(taken.times) < FEWEST_PAIRS or time.perf_counter() < until:
                self._visit(taken, until)
        return taken

    def _visit(self, taken: Taken, until: float) -> None:
        """A few pairs of one layout; no more than are needed once the clock says `until`."""
        both = next(self.calls)
        held = [torch.empty(self.random.randrange(*HELD_BYTES), dtype=torch.uint8) for _ in range(HELD)]
        for call in both:
            call()  # what is met for the first time is not timed
        end = len(taken.times) + VISIT
        while len(taken.times) < end:
            candidate, other = self.pair(both)
            if min(candidate * self.repeats[0], other * self.repeats[1]) < SAMPLE_MS:
                self._size([candidate, other])  # the machine was slower when the samples were sized
                continue
            taken.times.append(candidate)
            taken.ratios.append(candidate / other)
            if len(taken.times) >= FEWEST_PAIRS and time.perf_counter() >= until:
                break
        del held


@contextmanager
def _no_garbage() -> Iterator[None]:
    """A collection in a sample would count as time of the network."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _cuda_sample(call: Call, repeats: int, device: torch.device) -> float:
    """By events on the device's own clock. The queue is empty at the start, so launching counts, as it does in use."""
    with torch.cuda.device(device):
        start, end = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / repeats
