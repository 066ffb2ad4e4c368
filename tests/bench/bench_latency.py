"""How well latencies repeat: the same networks timed in several separate processes, medians beside ratios.

python tests/bench/bench_latency.py                # on the machine as it is
python tests/bench/bench_latency.py --load         # with a competing process on every core
python tests/bench/bench_latency.py --in-one       # again and again in one process: what the machine alone does

Five timm models at 3 x 224 x 224 and three networks at the size of the digits, batch 1, one thread. Bar: over four
processes the ratios of a network lie within 3 % of one another on an idle machine, within 5 % under load. The spread
is (largest - smallest) / median.

Seen on two cores of a virtual machine whose host has other guests, so never idle (medians 1 to 18 % apart): the widest
of the eight spreads in seven runs without load was 3.8, 2.3, 4.5, 3.2, 2.7, 2.2 and 4.5 % (of 56, 49 within 3 %; the
others are of timm models), in two loaded runs 2.8 and 3.5 %. What is left is the machine's: in two runs in one process
it was 2.2 and 3.8 %, and measured in turn in ten new processes and ten times in one that stayed, the ratios of
resnet18, mobilenetv3_small_100 and convnext_atto had a standard deviation of .69, .73 and 1.19 % in the new, of .81,
.83 and 1.08 % in the one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

MODELS = ("resnet18", "mobilenetv3_small_100", "convnext_atto", "starnet_s1", "mambaout_femto")
SEEDS = (0, 1, 2)
Taken = dict[str, dict[str, float]]


def measured(seconds: float, times: int) -> Iterator[Taken]:
    """Median and ratio of every network, in this process, several times."""
    import timm

    import hadnas

    digits = hadnas.Task.image(1, 8, 8, classes=10)
    space = hadnas.load("search_spaces/four_families")
    networks = {name: (timm.create_model(name), (3, 224, 224)) for name in MODELS}
    for seed in SEEDS:
        arch = hadnas.sample(space, digits, seed=seed)
        networks[f"digits {arch.fingerprint[:6]}"] = (hadnas.build(arch, digits), digits.shape)
    for _ in range(times):
        found = {}
        for name, (network, shape) in networks.items():
            taken = hadnas.latency(network, shape, seconds=seconds)
            found[name] = {"median ms": taken.median_ms, "ratio": taken.ratio, "noisy": float(taken.noisy)}
        yield found


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--in-one", action="store_true")
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)  # how often
    chosen = parser.parse_args()
    if chosen.child:
        print(*(json.dumps(found) for found in measured(chosen.seconds, chosen.child)), sep="\n")
        return
    processes, times = (1, chosen.processes) if chosen.in_one else (chosen.processes, 1)
    cores = (os.cpu_count() or 1) if chosen.load else 0
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        command = [sys.executable, __file__, "--child", str(times), "--seconds", str(chosen.seconds)]
        runs: list[Taken] = [
            json.loads(line)
            for _ in range(processes)
            for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        ]
    finally:
        for process in busy:
            process.kill()
    table = Table("network", "median ms", "spread of medians", "ratio", "spread of ratios", "noisy", box=None)
    for name in runs[0]:
        medians, ratios = ([run[name][key] for run in runs] for key in ("median ms", "ratio"))
        row = (f"{statistics.median(medians):.3f}", f"{spread(medians):.1%}")
        row += (f"{statistics.median(ratios):.3f}", f"{spread(ratios):.1%}")
        table.add_row(name, *row, f"{sum(run[name]['noisy'] for run in runs):.0f} of {len(runs)}")
    console = Console(width=120)
    console.print(table)
    load = "a competing process on every core" if chosen.load else "no load of ours"
    where = f"{times} times in one process" if chosen.in_one else f"{processes} processes"
    console.print(f"{where}, {chosen.seconds} s each, {load}")


if __name__ == "__main__":
    main()
