"""How candidate and reference are sampled in turn."""

import threading
import time
from functools import partial

import torch

from hadnas.measure.latency.pairs import FEWEST_PAIRS, SAMPLE_MS, VISIT, Pairs, Taken, trusted
from tests.networks import work


def test_samples_are_long_enough():
    lengths = []

    def timed(pairs, which):
        start = time.perf_counter()
        pairs.sample(calls[which], pairs.repeats[which])
        lengths.append((time.perf_counter() - start) * 1e3)

    calls = (lambda: time.sleep(0.0005), lambda: time.sleep(0.02))
    pairs = Pairs([calls], torch.device("cpu"), "wall", threading.Event())
    pairs.warm_up(0.2)
    pairs.take(time.perf_counter() + 0.2)
    timed(pairs, 0)
    timed(pairs, 1)
    assert min(lengths) >= SAMPLE_MS
    assert pairs.repeats[0] > pairs.repeats[1]  # both samples last about equally long


def test_samples_sized_on_a_slower_machine_are_sized_again():
    pairs = Pairs([(lambda: None, lambda: None)], torch.device("cpu"), "thread", threading.Event())
    taken = pairs.take(time.perf_counter() + 0.1)  # never warmed up: one call in a sample
    assert min(pairs.repeats) > 100 and len(taken.times) == len(taken.ratios) >= 5


def test_every_visit_is_of_the_next_copy_and_its_first_call_is_not_timed():
    met: list[str] = []

    def copy(name):
        def call(which):
            met.append(f"{name} {which}")
            work(SAMPLE_MS / 1e3)

        return partial(call, "candidate"), partial(call, "reference")

    pairs = Pairs([copy("first"), copy("second")], torch.device("cpu"), "thread", threading.Event())
    taken = pairs.take(time.perf_counter())  # no time at all: the fewest pairs
    assert len(taken.times) == FEWEST_PAIRS
    visits = {"first": 1 + VISIT, "second": 1 + FEWEST_PAIRS - VISIT}
    assert met == [f"{name} {which}" for name, calls in visits.items() for which in ["candidate", "reference"] * calls]


def test_a_noisy_measurement_is_that_of_its_quieter_part():
    steady, slower = Taken([1.0] * 5, [2.0] * 5), Taken([1.1] * 5, [2.02] * 5)
    assert trusted([steady, slower]) == Taken([1.0] * 5 + [1.1] * 5, [2.0] * 5 + [2.02] * 5)
    unsteady = Taken([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert trusted([unsteady, steady]) == steady
    assert trusted([unsteady]) == unsteady  # there was no time for a second part
