"""Two calls sampled in turn."""

import statistics
import time
from dataclasses import dataclass, field
from threading import Event

import torch

from hadnas.measure.latency.backends import Call

NOISY = 0.05  # relative interquartile range of the ratio above which a measurement is repeated, then flagged
SAMPLE_MS = 10.0  # half as long ones of a small network spread by 5 to 8 % without any load
FEWEST_PAIRS = 5
CLOCKS = {"thread": time.thread_time_ns, "wall": time.perf_counter_ns}  # and "events" on CUDA


@dataclass
class Taken:
    """What was sampled, pair by pair."""

    times: list[float] = field(default_factory=list)  # of the candidate, milliseconds per call
    ratios: list[float] = field(default_factory=list)  # candidate over reference


def spread(values: list[float]) -> float:
    """The interquartile range over the median."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def trusted(parts: list[Taken]) -> Taken:
    """All that was taken or, where that is noisy, the quieter part."""
    whole = Taken([t for part in parts for t in part.times], [r for part in parts for r in part.ratios])
    return whole if spread(whole.ratios) <= NOISY else min(parts, key=lambda part: spread(part.ratios))


class Pairs:
    """Candidate and reference, sampled in turn by a clock: "thread", "wall" or, on CUDA, "events".

    Once `stop` is set, the next sample raises KeyboardInterrupt.
    """

    def __init__(self, candidate: Call, reference: Call, device: torch.device, clock: str, stop: Event) -> None:
        self.calls = candidate, reference
        self.device = device
        self.clock = clock
        self.stop = stop
        self.repeats = [1, 1]  # calls in one sample

    def warm_up(self, seconds: float) -> None:
        """Run both until three times in a row agree within 5 %, at most `seconds`; then size the samples."""
        end = time.perf_counter() + seconds
        times: list[list[float]] = [[], []]
        while True:
            for of_one, took in zip(times, self.pair(), strict=True):
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

    def pair(self) -> tuple[float, float]:
        """Milliseconds per call of both."""
        candidate, reference = (self.sample(*each) for each in zip(self.calls, self.repeats, strict=True))
        return candidate, reference

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
        taken = Taken()
        while len(taken.times) < FEWEST_PAIRS or time.perf_counter() < until:
            candidate, reference = self.pair()
            if min(candidate * self.repeats[0], reference * self.repeats[1]) < SAMPLE_MS:
                self._size([candidate, reference])  # the machine was slower when the samples were sized
                continue
            taken.times.append(candidate)
            taken.ratios.append(candidate / reference)
        return taken


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
