"""Is `fit` as fast as a plain PyTorch loop? Both train equal networks on the same tensors, step by step in turn.

Command:  python tests/bench/bench_train.py [--epochs 12]
Bar:      an epoch of `fit` takes at most 1.05 times the CPU time of a plain one, one thread; wall time beside it.

Both do the same work: shuffle, batches of 64, AdamW with decay on matrices only, a schedule per update, gradient
clipping, loss and accuracy on the validation split. A hook on the forward of the network in `fit` runs one plain
step, so the two are never more than a step apart and a change of the machine's load meets both. An epoch is the
median step times the number of steps, plus the median batch of a validation times the number of those; what `fit` does
between two steps and between two epochs counts. The first epoch of each is warm-up.
"""

import argparse
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import fit


def network() -> nn.Module:
    torch.manual_seed(0)

    def layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    body = [*layer(1, 24, 1), *layer(24, 24, 1), *layer(24, 48, 2), *layer(48, 48, 1)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))


def plain(
    module: nn.Module, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], recipe: Recipe, found: list[float]
) -> Iterator[None]:
    """The loop one writes by hand, halting before every step and every batch of a validation; appends accuracies."""
    images, labels = train
    steps = math.ceil(len(images) / recipe.batch)
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": vectors, "weight_decay": 0.0}, {"params": matrices, "weight_decay": recipe.weight_decay}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * steps)
    for _ in range(recipe.epochs):
        module.train()
        total = torch.zeros(())
        for index in torch.randperm(len(images)).split(recipe.batch):
            yield
            loss = F.cross_entropy(module(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            if recipe.clip_grad is not None:
                nn.utils.clip_grad_norm_(module.parameters(), recipe.clip_grad)
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(index)
        module.eval()
        right = 0
        for seen, told in zip(*(part.split(recipe.evaluation_batch) for part in val), strict=True):
            yield
            with torch.no_grad():
                logits = module(seen)
                F.cross_entropy(logits, told, reduction="sum").item()
                right += int((logits.argmax(1) == told).sum())
        found.append(right / len(val[0]))


class Clock:
    """Runs one plain piece before each forward of a module; times both sides, in (CPU, wall) seconds."""

    def __init__(self, pieces: Iterator[None]) -> None:
        self.pieces = pieces
        self.times: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self.last: tuple[str, float, float] | None = None

    def __call__(self, module: nn.Module, inputs: object) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        if self.last is not None:
            kind, since_cpu, since_wall = self.last
            self.times[kind, "fit"].append((cpu - since_cpu, wall - since_wall))
        kind = "step" if module.training else "validation"
        with torch.enable_grad():
            next(self.pieces, None)  # the last piece ends it
        self.last = kind, time.process_time(), time.perf_counter()
        self.times[kind, "plain"].append((self.last[1] - cpu, self.last[2] - wall))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    epochs = parser.parse_args().epochs
    torch.set_num_threads(1)
    data, recipe = load_data("digits"), Recipe(epochs=epochs)
    batches = [next(part.batches(len(part))) for part in (data.train, data.val)]
    train, val = ((images, labels) for (images,), labels in batches)
    accuracies: list[float] = []
    pieces = plain(network(), train, val, recipe, accuracies)
    next(pieces)  # up to the first step
    clock = Clock(pieces)
    module = network()
    module.register_forward_pre_hook(clock)
    result = fit(module, data, recipe, seed=0)
    print(f"validation accuracy: fit {result.score.accuracy:.3f}, plain {accuracies[-1]:.3f}")
    steps = math.ceil(len(data.train) / recipe.batch)
    batches = math.ceil(len(data.val) / recipe.evaluation_batch)
    bar = 0.0
    for column, name in ((1, "wall"), (0, "CPU")):
        whole = dict.fromkeys(("fit", "plain"), 0.0)
        for kind, count in (("step", steps), ("validation", batches)):
            for side in whole:
                times = [pair[column] * 1e3 for pair in clock.times[kind, side][count:]]
                low, median, high = statistics.quantiles(times, n=4)
                whole[side] += count * median
                print(f"{name} {side} {kind}: median {median:.2f} ms, IQR {low:.2f}..{high:.2f}, n = {len(times)}")
        bar = whole["fit"] / whole["plain"]
        print(f"{name} of an epoch, fit / plain: {whole['fit']:.0f} / {whole['plain']:.0f} ms = {bar:.3f}")
    print("bar 1.05 on CPU time:", "met" if bar <= 1.05 else "MISSED")


if __name__ == "__main__":
    main()
