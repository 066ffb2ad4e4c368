"""Do products learn high frequencies faster than sums? Blocks against their additive twins on a sum of sines.

python tests/bench/frequencies.py              # minutes on one core; docs/frequencies.png and the table below
python tests/bench/frequencies.py --smoke      # seconds, no picture

The claim is that of the survey's section on theory (Choraria et al., "The spectral bias of polynomial neural networks",
2022, arXiv 2202.13473). A network of three blocks of 32 channels, without norms, reads one number in -1..1 and learns
the sum of eight sines of equal amplitude, frequencies 1 to 8 and random phases, from 256 points in full batches, by
Adam with the rate of .001, .003 and .01 that gives it the least error. A frequency is learned when its amplitude in the
residual remains below one half; a ratio is the geometric mean over four frequencies, its interval counts the seeds.

Expected of six seeds and 800 steps, 7 minutes of one core: steps of the sum over those of the product.

    block         frequencies 1 to 4      5 to 8                 last error, product and sum
    star          3.8 (1.7 to 8.3)        2.5 (1.8 to 3.5)       .008   .066
    glu           2.2 (1.05 to 4.6)       2.0 (1.4 to 2.8)       .001   .037
    gated_conv    6.4 (2.7 to 15)         2.5 (1.9 to 3.4)       .002   .032

Products learn the high frequencies two to two and a half times faster, and the low ones no less so: their lead is not
one of high frequencies alone.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.hosts.build import build
from hadnas.space import op

POINTS, FREQUENCIES, RATES = 256, 8, (1e-3, 3e-3, 1e-2)
BLOCKS = {
    "star": op("star", kernel=1, act="gelu", expand=2, norm=None),
    "glu": op("glu", act="gelu", expand=2.0),
    "gated_conv": op("gated_conv", kernel=1, act="gelu", expand=2.0),
}
KINDS = {"mul": "product", "sum": "sum"}
PICTURE = Path(__file__).parents[2] / "docs" / "frequencies.png"
TASK = Task.image(1, 1, POINTS, classes=1)


def network(block: dict[str, object], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    blocks = [op("residual", block=block, merge=op("add"), norm=None)] * 3
    stem = op("conv_norm", dim=32, kernel=1, stride=1, norm=None, act=None)
    stage = {"dim": 32, "blocks": blocks}
    arch = complete(op("pyramid", stem=stem, stages=[stage], norm=None, head=op("pooled_linear")), TASK)
    return build(arch, TASK, global_pool="")  # each position, a point, by itself


def sines(seed: int) -> tuple[Tensor, Tensor]:
    """The points as a map (1, 1, 1, N), and their values (N)."""
    x = torch.arange(POINTS) / POINTS
    phases = 2 * torch.pi * torch.rand(FREQUENCIES, generator=torch.Generator().manual_seed(seed))
    waves = [torch.sin(2 * torch.pi * k * x + phase) for k, phase in enumerate(phases, 1)]
    return (2 * x - 1).view(1, 1, 1, -1), torch.stack(waves).sum(0)


def steps_to_learn(block: dict[str, object], rate: float, seed: int, steps: int) -> tuple[list[int], float]:
    """The steps after which each frequency is learned, `steps` if it is not, and the last mean squared error."""
    net, (x, y) = network(block, seed), sines(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    learned = [1] * FREQUENCIES
    for step in range(steps):
        residual = y - net(x).flatten()
        spectrum = torch.fft.rfft(residual.detach()).abs()[1 : FREQUENCIES + 1] * 2 / POINTS
        for k in torch.nonzero(spectrum >= 0.5).flatten().tolist():
            learned[k] = step + 1
        optimizer.zero_grad()
        loss = residual.square().mean()
        loss.backward()
        optimizer.step()
    return learned, loss.item()


def best(block: dict[str, object], seeds: int, steps: int) -> tuple[float, NDArray[np.int64], float]:
    """The rate of the least median error, with it the steps (seeds, frequencies), and that error."""
    runs = {rate: [steps_to_learn(block, rate, seed, steps) for seed in range(seeds)] for rate in RATES}
    errors = {rate: median(error for _, error in found) for rate, found in runs.items()}
    rate = min(errors, key=lambda rate: errors[rate])
    return rate, np.array([learned for learned, _ in runs[rate]]), errors[rate]


def draw(found: Mapping[tuple[str, str], NDArray[np.int64]], steps: int) -> Figure:
    """Median steps to learn each frequency, and the range over the seeds, for product and sum of each block."""
    figure = Figure(figsize=(3.2 * len(BLOCKS), 3.2), layout="constrained")
    axes = figure.subplots(1, len(BLOCKS), sharey=True)
    ks = range(1, FREQUENCIES + 1)
    for place, name in enumerate(BLOCKS):
        for (kind, label), colour, mark in zip(KINDS.items(), ("#0072B2", "#E69F00"), "os", strict=True):
            learned = found[name, kind]
            axes[place].fill_between(ks, learned.min(0), learned.max(0), color=colour, alpha=0.12, linewidth=0)
            axes[place].plot(ks, np.median(learned, 0), color=colour, marker=mark, markersize=4, label=label)
        axes[place].axhline(steps, color="black", linewidth=0.8, linestyle=":")
        axes[place].set(title=name, xlabel="frequency", yscale="log", xticks=ks)
        axes[place].spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("steps until it is learned")
    axes[0].text(1, steps * 1.05, f"not in {steps} steps", fontsize="small")
    axes[-1].legend(frameon=False, fontsize="small")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    seeds, steps = (2, 30) if smoke else (6, 800)
    found = {}
    for name, block in BLOCKS.items():
        for kind, label in KINDS.items():
            rate, found[name, kind], error = best({**block, "interact": kind}, seeds, steps)
            medians = " ".join(f"{step:4.0f}" for step in np.median(found[name, kind], 0))
            print(f"{name:11} {label:8} rate {rate:g}, last error {error:7.3g}, median steps {medians}", flush=True)
        ratio = np.log(found[name, "sum"] / found[name, "mul"])
        for part, columns in {"1 to 4": ratio[:, :4], "5 to 8": ratio[:, 4:]}.items():
            each = columns.mean(1)  # of a seed
            reach = stats.t.ppf(0.975, seeds - 1) * each.std(ddof=1) / seeds**0.5
            mean, low, high = np.exp([each.mean(), each.mean() - reach, each.mean() + reach])
            print(f"  frequencies {part}: steps of the sum / product {mean:.2f} ({low:.2f} to {high:.2f})", flush=True)
    if not smoke:
        draw(found, steps).savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    main()
