"""Times two forward passes alternately."""

import statistics
import time
from dataclasses import dataclass, field
from threading import Event

import torch

from hadnas.measure.latency.backends import ForwardPass

NOISY = 0.05  # a measurement is repeated, then flagged, above this relative interquartile range of the ratio
SAMPLE_MS = 10.0  # samples of 5 ms of a small network have an interquartile range of 5 to 8 % without any load
FEWEST_PAIRS = 5
CLOCKS = {"thread": time.thread_time_ns, "wall": time.perf_counter_ns}  # and "events" on CUDA


@dataclass
class Samples:
    """The samples, one entry per pair."""

    times: list[float] = field(default_factory=list)  # of the candidate, milliseconds per call
    ratios: list[float] = field(default_factory=list)  # candidate over reference


def relative_iqr(values: list[float]) -> float:
    """The interquartile range over the median."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def trusted(parts: list[Samples]) -> Samples:
    """All samples or, if these are noisy, the least noisy part."""
    whole = Samples([t for part in parts for t in part.times], [r for part in parts for r in part.ratios])
    return whole if relative_iqr(whole.ratios) <= NOISY else min(parts, key=lambda part: relative_iqr(part.ratios))


class Pairs:
    """Samples candidate and reference alternately by a clock: "thread", "wall" or, on CUDA, "events".

    Once `stop` is set, the next sample raises KeyboardInterrupt.
    """

    def __init__(
        self, candidate: ForwardPass, reference: ForwardPass, device: torch.device, clock: str, stop: Event
    ) -> None:
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
            for own_times, time_ms in zip(times, self.pair(), strict=True):
                own_times.append(time_ms)
            last = [t[-3:] for t in times]
            steady = len(times[0]) >= 3 and all(max(t) <= 1.05 * min(t) for t in last)
            if steady or time.perf_counter() > end:
                break
        self._size([min(t) for t in times])

    def _size(self, fastest: list[float]) -> None:
        """Set the repeats so that samples of both last equally long, since longer ones are interrupted more often."""
        length = max(1.2 * SAMPLE_MS, *fastest)  # 20 % more than the minimum, since later calls may be faster
        self.repeats = [max(1, round(length / t)) for t in fastest]

    def pair(self) -> tuple[float, float]:
        """Milliseconds per call of both."""
        candidate, reference = (self.sample(*each) for each in zip(self.calls, self.repeats, strict=True))
        return candidate, reference

    def sample(self, call: ForwardPass, repeats: int) -> float:
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

    def measure(self, until: float) -> Samples:
        """Pairs of samples until `time.perf_counter()` reaches `until`, at least FEWEST_PAIRS."""
        samples = Samples()
        while len(samples.times) < FEWEST_PAIRS or time.perf_counter() < until:
            candidate, reference = self.pair()
            if min(candidate * self.repeats[0], reference * self.repeats[1]) < SAMPLE_MS:
                self._size([candidate, reference])  # the machine was slower when the samples were sized
                continue
            samples.times.append(candidate)
            samples.ratios.append(candidate / reference)
        return samples


def _cuda_sample(call: ForwardPass, repeats: int, device: torch.device) -> float:
    """Milliseconds per call by the device's clock. The queue is empty at the start, so kernel launches count."""
    with torch.cuda.device(device):
        start, end = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / repeats
