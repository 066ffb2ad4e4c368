"""Is `fit` as fast as a plain PyTorch loop? Both train equal networks on the same tensors, epoch by epoch in turn.

Command:  python tests/benchmarks/bench_train.py [--pairs 40]
Bar:      median ratio (fit / plain) of process CPU time per epoch at most 1.05, one thread; wall time beside it.

Both do the same work: shuffle, batches of 64, AdamW with decay on matrices only, a schedule per update, gradient
clipping, loss and accuracy on the validation split. The plain epoch runs inside `on_epoch`, so the two are never more
than an epoch apart and a change of the machine's load meets both; the first epoch of each is warm-up.
"""

import argparse
import math
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadnas.train.data import load_data
from hadnas.train.loop import Epoch, fit
from hadnas.train.recipe import Recipe


def network() -> nn.Module:
    torch.manual_seed(0)

    def layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    body = [*layer(1, 24, 1), *layer(24, 24, 1), *layer(24, 48, 2), *layer(48, 48, 1)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))


class Plain:
    """The loop one writes by hand."""

    def __init__(self, module: nn.Module, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], recipe: Recipe):
        self.module, self.train, self.val, self.recipe = module, train, val, recipe
        matrices = [p for p in module.parameters() if p.ndim > 1]
        vectors = [p for p in module.parameters() if p.ndim <= 1]
        groups = [{"params": vectors, "weight_decay": 0.0}, {"params": matrices, "weight_decay": recipe.weight_decay}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
        steps = math.ceil(len(train[0]) / recipe.batch)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, recipe.epochs * steps)

    def epoch(self) -> tuple[float, float, float]:
        """Train one epoch; returns training loss, validation loss and validation accuracy."""
        images, labels = self.train
        self.module.train()
        total = torch.zeros(())
        for index in torch.randperm(len(images)).split(self.recipe.batch):
            loss = F.cross_entropy(self.module(images[index]), labels[index])
            self.optimizer.zero_grad()
            loss.backward()
            if self.recipe.clip_grad is not None:
                nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip_grad)
            self.optimizer.step()
            self.schedule.step()
            total += loss.detach() * len(index)
        self.module.eval()
        with torch.no_grad():
            logits = self.module(self.val[0])
            accuracy = (logits.argmax(1) == self.val[1]).float().mean().item()
            return total.item() / len(images), F.cross_entropy(logits, self.val[1]).item(), accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    data, recipe = load_data("digits"), Recipe(epochs=pairs + 1)
    train, val = (next(part.batches(len(part))) for part in (data.train, data.val))
    plain = Plain(network(), train, val, recipe)
    clock = time.process_time()
    cpu: list[tuple[float, float]] = []
    wall: list[tuple[float, float]] = []
    plain_accuracy = 0.0

    def plain_epoch(epoch: Epoch) -> None:
        nonlocal clock, plain_accuracy
        fit_cpu, began, began_wall = time.process_time() - clock, time.process_time(), time.perf_counter()
        _, _, plain_accuracy = plain.epoch()
        clock = time.process_time()
        cpu.append((fit_cpu, clock - began))
        wall.append((epoch.seconds, time.perf_counter() - began_wall))

    result = fit(network(), data, recipe, seed=0, on_epoch=plain_epoch)
    print(f"validation accuracy: fit {result.val_accuracy:.3f}, plain {plain_accuracy:.3f}")
    around = result.seconds - sum(ours + theirs for ours, theirs in wall)
    print(f"fit outside its epochs: {around * 1e3:.0f} ms per training")
    medians = {}
    for name, times in (("CPU", cpu[1:]), ("wall", wall[1:])):
        ratios = [ours / theirs for ours, theirs in times]
        low, medians[name], high = statistics.quantiles(ratios, n=4)
        least = [min(column) for column in zip(*times, strict=True)]
        print(
            f"{name} ratio fit / plain: median {medians[name]:.3f}, IQR {low:.3f}..{high:.3f}, n = {len(ratios)} pairs; "
            f"least epoch {least[0] * 1e3:.0f} / {least[1] * 1e3:.0f} ms = {least[0] / least[1]:.3f}"
        )
    print("bar 1.05:", "met" if medians["CPU"] <= 1.05 else "MISSED")


if __name__ == "__main__":
    main()
