"""HadaBench is whole, its costs are those of the counter, and on it the surrogate keeps its lead."""

import csv
import random
from pathlib import Path

import numpy as np
import pytest

from hadnas.arch.task import Task
from hadnas.hosts.build import build_plan
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.replay.replay import contender, replays
from hadnas.replay.scores import shares
from hadnas.replay.table import KnownTable, goal, read_table
from hadnas.search_spaces.hadabench import SPACE
from hadnas.space import every

PARTS = sorted((Path(__file__).parents[1] / "bench").glob("hadabench-*.csv"))
LOGS = ("log10.macs", "log10.params")


def bench() -> KnownTable:
    """Validation accuracy after the last epoch against log10 MACs, with curves."""
    return read_table(SPACE, PARTS, goal(["val_accuracy@8"], LOGS[:1], LOGS[:1], [], LOGS, "macs", 8))


def test_every_network_is_there_with_its_costs() -> None:
    table = bench()
    assert len(table.figures) == 648 and PARTS
    accuracies = [table.judged(key)[0] for key in table.figures]
    assert 0.65 < min(accuracies) < 0.75 and 0.83 < max(accuracies) < 0.86
    with PARTS[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    members = list(every(SPACE))
    for place in random.Random(0).sample(range(len(rows)), 3):
        answers, node = members[place]
        assert {name: str(answer) for name, answer in answers.items()}.items() <= rows[place].items()
        plan = make_plan(node, Task.image(1, 8, 8, classes=10))
        counted = cost(build_plan(plan, device="meta"), plan.task.shape)
        assert (str(counted.macs), str(counted.params)) == (rows[place]["macs"], rows[place]["params"])


@pytest.mark.slow
def test_the_surrogate_reaches_what_tpe_reaches_with_a_third_of_its_work_at_most() -> None:
    """At 60 networks, median of 12 seeds; the docs have 50 seeds and the interval."""
    searches = list(replays(bench(), [contender("tpe"), contender("surrogate")], 12, 60, 2))
    (share,) = shares(searches)
    assert share.median < 0.34 and share.missed <= 1
    assert np.mean([s.at(60).score for s in searches if s.contender.label == "surrogate"]) > 0.95
