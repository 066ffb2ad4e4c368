"""Where each sampler leads on HadaBench: hypervolume by stricter reference accuracies, and the best network found.

PYTHONPATH=. python tests/bench/hadabench_lead.py 12  # 12 searches of 60 networks each; set OMP_NUM_THREADS=1

The surrogate has its own reference point, as in a study, not that of the table.
"""

import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hadnas.library import load_study
from hadnas.measure.front import hypervolume, pareto_front
from hadnas.replay import replay
from hadnas.replay.table import KnownTable, goal, read_table
from hadnas.samplers.problem import Problem

PARTS = [Path(__file__).with_name(f"hadabench-{part}.csv") for part in (0, 1)]
QUANTILES = (0, 0.5, 0.75, 0.9)
SAMPLERS = ("tpe", "random", "surrogate")
BUDGET = 60


class AsInAStudy(KnownTable):
    """The table without a reference point for the sampler; `tried` are the networks of the latest search."""

    tried: tuple[object, ...] = ()

    @cached_property
    def problem(self) -> Problem:
        return replace(super().problem, reference={})

    def trained(self, key: object, seed: int) -> list[float]:
        self.tried = (*self.tried, key)
        return super().trained(key, seed)


def main(seeds: int) -> None:
    features = ["log10.macs", "log10.params"]
    wanted = goal(["val_accuracy@8"], ["log10.macs"], ["log10.macs"], [], features, "macs", 8)
    read = read_table(load_study("hadabench").space, PARTS, wanted)
    table = AsInAStudy(read.space, read.goal, read.keys, read.figures)
    everything = [table.judged(key) for key in table.means]
    worst = [float(np.quantile([accuracy for accuracy, _ in everything], q)) for q in QUANTILES]
    whole = [hypervolume(everything, table.directions, (one, table.reference[1])) for one in worst]
    for sampler in SAMPLERS:
        rows = []
        for seed in range(seeds):
            table.tried = ()
            replay.replay_search(table, replay.contender(sampler), seed, BUDGET)
            keys = table.tried
            seen = [table.trained(key, seed) for key in keys]
            front = [table.judged(keys[row]) for row in pareto_front(seen, table.directions)]
            best = table.judged(keys[int(np.argmax([accuracy for accuracy, _ in seen]))])[0]
            volumes = [hypervolume(front, table.directions, (one, table.reference[1])) for one in worst]
            rows.append([*(np.array(volumes) / whole), best])
        mean, error = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / seeds**0.5
        names = [f"quantile {q:g}" for q in QUANTILES] + ["best accuracy"]
        print(sampler, *(f"{n}: {m:.3f} ± {e:.3f}" for n, m, e in zip(names, mean, error, strict=True)), sep="  ")


if __name__ == "__main__":
    main(int(sys.argv[1]))
