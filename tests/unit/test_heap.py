"""What a call frees while something is timed is there for the next."""

from resource import RUSAGE_SELF, getrusage

import pytest
import timm

from hadnas.measure.latency import heap
from hadnas.measure.latency.latency import latency
from hadnas.measure.latency.pairs import Pairs


@pytest.mark.skipif(heap.mallopt is None, reason="glibc alone gives memory back and can be told not to")
def test_a_large_batch_finds_its_memory_again(monkeypatch):
    counted = []
    take = Pairs.take

    def counting(self, until):
        before = getrusage(RUSAGE_SELF).ru_minflt
        taken = take(self, until)
        counted.append((getrusage(RUSAGE_SELF).ru_minflt - before) / (2 * len(taken.times)))
        return taken

    monkeypatch.setattr(Pairs, "take", counting)
    latency(timm.create_model("mobilenetv3_small_100"), (3, 128, 128), batch=64, seconds=0.5)
    assert counted[0] < 1000  # pages of 4 kB per call; 13,000 to 35,000 as glibc stands
