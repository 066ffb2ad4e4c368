"""The benchmarks run, in small, and print figures: what those are is for people to read, and fails no test."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "bench_blocks.py pairs star --rounds 3",
    "bench_blocks.py table star --rounds 3 --out {}",
    "bench_cost.py 1",
    "bench_latency.py --processes 2 --seconds 0.1 --load",
    "bench_latency.py --processes 2 --seconds 0.1 --in-one",
    "bench_pool.py 20",
    "bench_samplers.py quality 2",
    "bench_screen.py 2 1 1",
    "bench_train.py --epochs 2",
    "bench_trial.py",
)


def test_every_benchmark_is_here() -> None:
    written = {path.name for path in (Path(__file__).parents[1] / "bench").glob("bench_*.py")}
    assert written == {command.split()[0] for command in COMMANDS}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_benchmark_runs(command: str, tmp_path: Path) -> None:
    name, *arguments = command.format(tmp_path).split()
    script = Path(__file__).parents[1] / "bench" / name
    there = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, env=there)
    assert done.returncode == 0, done.stderr
    figures = re.sub(r"[+-]\S+ ± \S+", "", done.stdout)  # a difference may be negative
    assert re.search(r"[1-9]", figures) and not re.search(r"\bnan\b|\binf\b|(?<!\w)-\d", figures), done.stdout
