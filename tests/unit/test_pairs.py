"""How candidate and reference are sampled in turn."""

import time
from functools import partial
from threading import Event

import torch

from hadnas.measure.latency.pairs import FEWEST_PAIRS, SAMPLE_MS, Pairs, Samples, trusted
from tests.networks import work


def test_samples_are_long_enough():
    lengths = []

    def timed(pairs, which):
        start = time.perf_counter()
        pairs.sample(calls[which], pairs.repeats[which])
        lengths.append((time.perf_counter() - start) * 1e3)

    calls = (lambda: time.sleep(0.0005), lambda: time.sleep(0.02))
    pairs = Pairs(*calls, torch.device("cpu"), "wall", Event())
    pairs.warm_up(0.2)
    pairs.measure(time.perf_counter() + 0.2)
    timed(pairs, 0)
    timed(pairs, 1)
    assert min(lengths) >= SAMPLE_MS
    assert pairs.repeats[0] > pairs.repeats[1]  # both samples last about equally long


def test_samples_sized_on_a_slower_machine_are_sized_again():
    pairs = Pairs(lambda: None, lambda: None, torch.device("cpu"), "thread", Event())
    taken = pairs.measure(time.perf_counter() + 0.1)  # never warmed up: one call in a sample
    assert min(pairs.repeats) > 100 and len(taken.times) == len(taken.ratios) >= 5


def test_candidate_and_reference_are_sampled_in_turn():
    met = []

    def call(which):
        met.append(which)
        work(SAMPLE_MS / 1e3)

    pairs = Pairs(partial(call, "candidate"), partial(call, "reference"), torch.device("cpu"), "thread", Event())
    taken = pairs.measure(time.perf_counter())  # no time at all: the fewest pairs
    assert len(taken.times) == FEWEST_PAIRS and met == ["candidate", "reference"] * FEWEST_PAIRS


def test_a_noisy_measurement_is_that_of_its_quieter_part():
    steady, slower = Samples([1.0] * 5, [2.0] * 5), Samples([1.1] * 5, [2.02] * 5)
    assert trusted([steady, slower]) == Samples([1.0] * 5 + [1.1] * 5, [2.0] * 5 + [2.02] * 5)
    unsteady = Samples([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert trusted([unsteady, steady]) == steady
    assert trusted([unsteady]) == unsteady  # there was no time for a second part
