"""The speed of the blocks: beside the timm class each is proven against, and per MAC.

    python tests/bench/bench_blocks.py pairs [BLOCK ...]     forward and backward, in turn with timm's class
    python tests/bench/bench_blocks.py table [BLOCK ...]     forward, batch 1 and 32, 32x32 and 224x224, as CSV

Pairs: which class a block is proven against is read off its oracle in tests/oracles, which runs that class; both get
the same weights and must return the same before they are timed. Where the class adds its own skip, so does the block.
The bar is a ratio of at most 1.05, of the lower quartiles of the samples, as halts of a machine only add; the spread is
the interquartile range of the ratios pair by pair, relative to their median. What is over the bar is printed so.

Times are of one thread, on a CPU its processor time, which other load spoils least; freed memory is kept, as how fast a
system hands out pages is no block's doing. The table goes to a file named by device, dtype, torch and timm versions.
Its time per MAC is of the fastest sample; a size that needs too much memory or work is left out, with the reason; slow
ones get fewer samples (column n).
"""

import argparse
import csv
import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import timm
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from hadnas.blocks.registry import find_op, ops
from hadnas.contract.cases import Case, defaults, randomise, state
from hadnas.measure.cost import cost
from tests.oracles import ORACLES

SAMPLE = 0.002  # seconds, at least: short, so that most samples miss what the machine does beside
MOST_SECONDS, FEWEST = 2.0, 2  # for the samples of a row of the table, unless they would be too few
BAR = 1.05
PAIR_DIM, PAIR_BATCH, PAIR_SIZE = 64, 8, (14, 14)
TABLE_DIM, BATCHES, SIZES = 16, (1, 32), (32, 224)
MOST_BYTES, MOST_MACS = 4e9, 2e10  # unfused attention scores, which the first does not know of, fit by the second
LIMITS = f"(at most {MOST_BYTES / 1e9:.0f} GB, {MOST_MACS / 1e9:.0f} GMACs)"

Call = Callable[[], object]


def keep_memory() -> None:
    """Let glibc keep what is freed; nothing elsewhere."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        trim_threshold, mmap_max = -1, -4  # malloc.h
        mallopt(trim_threshold, -1)
        mallopt(mmap_max, 0)


def clock(call: Call, repeats: int, device: str) -> float:
    """Seconds per call."""
    if device == "cuda":
        torch.cuda.synchronize()
    now = time.perf_counter if device == "cuda" else time.thread_time
    start = now()
    for _ in range(repeats):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (now() - start) / repeats


def in_turn(calls: list[Call], rounds: int, device: str, most: float = float("inf")) -> list[tuple[float, ...]]:
    """Samples of each call, one after the other, so that a changing clock hits all alike, and in turn the first.

    As many as `rounds`, but after FEWEST none begins later than `most` seconds after the first.
    """
    once = [clock(call, 1, device) for call in calls]
    once = [seconds if seconds > most else clock(call, 1, device) for call, seconds in zip(calls, once, strict=True)]
    repeats = [max(1, round(SAMPLE / max(seconds, 1e-7))) for seconds in once]
    gc.collect()
    turns = list(enumerate(zip(calls, repeats, strict=True)))
    taken: list[tuple[float, ...]] = []
    start = time.perf_counter()
    while len(taken) < rounds and (len(taken) < FEWEST or time.perf_counter() - start < most):
        sample = {place: clock(call, n, device) for place, (call, n) in turns}
        taken.append(tuple(sample[place] for place in range(len(calls))))
        turns.reverse()
    return taken


def spread(values: list[float]) -> float:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def proven_against(case: Case, x: Tensor, block: nn.Module) -> tuple[nn.Module, Tensor] | None:
    """The timm module that the block's oracle runs, with the block's weights, and its input; None if it runs none."""
    ran: list[tuple[nn.Module, Any, Tensor]] = []
    call = torch.func.functional_call

    def note(module: nn.Module, weights: Any, image: Tensor) -> Any:
        ran.append((module, weights, image))
        return call(module, weights, image)

    params = {key: t.detach().clone() for key, t in state(block)}
    with patch.object(torch.func, "functional_call", note):
        ORACLES[case.op.name].function(params, x.clone(), **case.values, training=block.training)
    if len(ran) != 1 or not type(ran[0][0]).__module__.startswith("timm."):
        return None
    module, weights, image = ran[0]
    module.load_state_dict(dict(weights), strict=False)
    return module.to(x.device), image.detach().clone()


def as_map(y: Tensor, like: Tensor) -> Tensor:
    """(B, C, H, W) of what is that, (B, H, W, C) or (B, N, C)."""
    if y.dim() == 4:
        return y if y.shape == like.shape else y.movedim(-1, 1)
    return y.transpose(1, 2).reshape(like.shape)


def step(function: Callable[[Tensor], Tensor], x: Tensor) -> Call:
    """Forward and backward."""
    leaf = x.detach().clone().requires_grad_()
    gradient = torch.randn_like(function(leaf))
    return lambda: function(leaf).backward(gradient)


def pairs(names: list[str], rounds: int, device: str) -> None:
    height, width = PAIR_SIZE
    print(
        f"forward and backward, dim {PAIR_DIM}, batch {PAIR_BATCH}, {height}x{width}, float32, {device}, n = {rounds}"
    )
    print(f"{'block':24}{'timm class':28}{'ms':>9}{'timm ms':>9}{'ratio':>8}{'spread':>8}")
    for name in names:
        op = find_op(name)
        case = Case(op, {**defaults(op), **ORACLES[name].cases[0]}, PAIR_DIM, height, width)
        torch.manual_seed(0)
        block = randomise(case.build(device=device)).eval()
        x = torch.randn(PAIR_BATCH, PAIR_DIM, height, width, device=device)
        found = proven_against(case, x, block)
        if found is None:
            continue
        reference, image = found
        with torch.no_grad():
            mine, theirs = block(x), as_map(reference.eval()(image), x)
        skip = not torch.allclose(mine, theirs, rtol=1e-3, atol=1e-3)
        if skip and not torch.allclose(x + mine, theirs, rtol=1e-3, atol=1e-3):
            print(f"{name:24}{type(reference).__name__:28}another function: its oracle uses a part of it")
            continue
        block.train(), reference.train()
        forward = (lambda x, block=block: x + block(x)) if skip else block
        taken = in_turn([step(forward, x), step(reference, image)], rounds, device)
        ratios = [a / b for a, b in taken]
        mine_ms, timm_ms = (statistics.quantiles(column, n=4)[0] * 1e3 for column in zip(*taken, strict=True))
        ratio = mine_ms / timm_ms
        verdict = f"  over {BAR}" if ratio > BAR else ""
        print(
            f"{name:24}{type(reference).__name__:28}{mine_ms:9.3f}{timm_ms:9.3f}{ratio:8.3f}{spread(ratios):8.3f}{verdict}",
            flush=True,
        )


def rows(names: list[str], rounds: int, device: str) -> Iterator[dict[str, Any]]:
    for name in names:
        op = find_op(name)
        for size in SIZES:
            case = Case(op, defaults(op), TABLE_DIM, size, size)
            counted = None if case.broken else cost(case.build(device="meta"), (TABLE_DIM, size, size))
            for batch in BATCHES:
                row: dict[str, Any] = {
                    "block": name,
                    "family": op.family,
                    "dim": TABLE_DIM,
                    "size": size,
                    "batch": batch,
                }
                if counted is None:
                    yield {**row, "left_out": case.broken}
                    continue
                row |= {"params": counted.params, "macs": counted.macs}
                memory = 4 * counted.params + batch * counted.peak_activation_bytes
                if memory > MOST_BYTES or batch * counted.macs > MOST_MACS:
                    yield {**row, "left_out": f"{memory / 1e9:.1f} GB, {batch * counted.macs / 1e9:.1f} GMACs {LIMITS}"}
                    continue
                block = case.build(device=device).eval()
                x = torch.randn(batch, TABLE_DIM, size, size, device=device)
                with torch.inference_mode():
                    times = [t for (t,) in in_turn([lambda block=block, x=x: block(x)], rounds, device, MOST_SECONDS)]
                least, median = min(times), statistics.median(times)
                row |= {"n": len(times), "least_ms": round(least * 1e3, 4), "median_ms": round(median * 1e3, 4)}
                row["spread"] = round(spread(times), 3)
                if counted.macs:
                    row["ps_per_mac"] = round(least * 1e12 / counted.macs / batch, 2)
                yield row


def table(names: list[str], rounds: int, device: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    versions = f"torch{torch.__version__}-timm{timm.__version__}".replace("+", "_")
    path = folder / f"blocks-{device}-float32-{versions}.csv"
    columns = ["block", "family", "dim", "size", "batch", "params", "macs"]
    columns += ["n", "least_ms", "median_ms", "spread", "ps_per_mac", "left_out"]
    print(f"{'block':26}{'size':>6}{'batch':>6}{'least ms':>12}{'median':>12}{'spread':>8}{'ps/MAC':>10}")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows(names, rounds, device):
            writer.writerow(row)
            file.flush()
            shown = (("least_ms", 12), ("median_ms", 12), ("spread", 8), ("ps_per_mac", 10))
            cells = "".join(f"{row.get(key, ''):>{width}}" for key, width in shown)
            print(f"{row['block']:26}{row['size']:>6}{row['batch']:>6}{cells}  {row.get('left_out', '')}", flush=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "table"))
    parser.add_argument("blocks", nargs="*", help="all if none is named")
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder of the CSV")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    names = [find_op(name, ("block",)).name for name in asked.blocks] or list(ops("block"))
    if asked.what == "pairs":
        pairs(names, asked.rounds, asked.device)
    else:
        print(table(names, asked.rounds, asked.device, asked.out))


if __name__ == "__main__":
    main()
