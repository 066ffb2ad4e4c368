"""Time that a member of a pool takes: described by its parts, against read, built and counted as a whole.

    python tests/bench/bench_pool.py [members]

Per space, means in milliseconds of this process's processor time per member: three pools of random draws, each first
with the parts that earlier pools left, then once more; the sampling itself; and every fifth member as a whole. Every
whole count must equal that of the parts.
"""

import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

import hadnas
from hadnas.arch.task import Task
from hadnas.hosts.build import build_plan
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import Cost, cost
from hadnas.samplers.problem import Prospect
from hadnas.search.proposals.prospects import prospects
from hadnas.space import random_pick, resolve

SPACES = {"four_families": Task.image(1, 8, 8, classes=10), "star_or_sum_widths": Task.image(1, 28, 28, classes=10)}


def main(members: int) -> None:
    torch.set_num_threads(1)
    for name, task in SPACES.items():
        bench(name, task, members)


def bench(name: str, task: Task, members: int) -> None:
    space, rng = hadnas.load(f"search_spaces/{name}"), random.Random(0)
    problem = prospects(space, task, ("val/accuracy", "macs"))

    def draw(_: int) -> Any:
        return resolve(space, random_pick(rng))

    def described(node: Any) -> Prospect | None:
        return problem.describe({}, node)

    def counted(node: Any) -> Cost:
        return cost(build_plan(make_plan(node, task), device="meta"), task.shape)

    counted(draw(0))  # torch imports what it needs
    for pool in range(3):
        drawing, nodes = clocked(draw, range(members))
        cold, found = clocked(described, nodes)
        warm, _ = clocked(described, nodes)
        print(f"{name}, pool {pool}: sampled {drawing:.2f}, described {cold:.2f}, again {warm:.2f} ms", flush=True)
    whole, costs = clocked(counted, nodes[::5])
    assert [one.known["macs"] for one in found[::5]] == [one.macs for one in costs]
    print(f"{name}: as a whole {whole:.2f} ms")


def clocked(work: Callable[[Any], Any], items: Sequence[Any]) -> tuple[float, list[Any]]:
    """Mean time per item, and what was made of each."""
    start = time.process_time()
    found = [work(item) for item in items]
    return (time.process_time() - start) / len(items) * 1e3, found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
