"""How well latencies repeat: the same networks timed in several separate processes, medians beside ratios.

python tests/benchmarks/bench_latency.py                # on the machine as it is
python tests/benchmarks/bench_latency.py --load         # with a competing process on every core

Five timm models at 3 x 224 x 224 and three networks at the size of the digits, batch 1, one thread. Bar: over four
processes the ratios of a network lie within 3 % of one another on an idle machine, within 5 % under load. The spread
is (largest - smallest) / median.

Seen on two cores of a shared machine, whose own speed drifted by up to 13 % meanwhile: the widest of the eight spreads
in five idle runs was 2.2, 3.8, 3.2, 1.9 and 3.4 % (of 40, 36 within 3 %; three of the others are digits-sized), with
14 s for each 3.2 %, in a loaded run 2.5 %. Before freed memory was kept (`hadnas.measure.heap`) it was 1.8 to 8.2 %
in seven. What is left is the host's other guests, and of the process (addresses, hash seed).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

MODELS = ("resnet18", "mobilenetv3_small_100", "convnext_atto", "starnet_s1", "mambaout_femto")
SEEDS = (0, 1, 2)
Taken = dict[str, dict[str, float]]


def measured(seconds: float) -> Taken:
    """Median and ratio of every network, in this process."""
    import timm

    import hadnas

    digits = hadnas.Task.image(1, 8, 8, classes=10)
    space = hadnas.load("search_spaces/four_families")
    networks = {name: (timm.create_model(name), (3, 224, 224)) for name in MODELS}
    for seed in SEEDS:
        arch = hadnas.sample(space, digits, seed=seed)
        networks[f"digits {arch.fingerprint[:6]}"] = (hadnas.build(arch, digits), digits.shape)
    found = {}
    for name, (network, shape) in networks.items():
        taken = hadnas.latency(network, shape, seconds=seconds)
        found[name] = {"median ms": taken.median_ms, "ratio": taken.ratio, "noisy": float(taken.noisy)}
    return found


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(measured(chosen.seconds)))
        return
    cores = (os.cpu_count() or 1) if chosen.load else 0
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        command = [sys.executable, __file__, "--child", "--seconds", str(chosen.seconds)]
        runs: list[Taken] = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            for _ in range(chosen.processes)
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
    console.print(f"{chosen.processes} processes, {chosen.seconds} s each, {load}")


if __name__ == "__main__":
    main()
