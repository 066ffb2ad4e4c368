"""What a fine-tuning gains from distilled weights: the combinations that `hadnas distill` enqueues, trained from both.

python tests/bench/distilled_start.py HOME  # HOME is an empty folder

For every seed, MODEL is trained on the digits at 32 x 32, its blocks are distilled, and the BEST combinations are
fine-tuned for one and for two epochs: from the parent with fresh new parts, and from the file that `hadnas distill`
wrote. Accuracy of the validation images; differences are of equal seeds, with Student's 95 % over the seeds' means.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits

import hadnas
from hadnas.arch.task import Task
from hadnas.hosts.build import build_seeded, save_weights
from hadnas.hosts.graft.space import DEFAULT_OPTIONS
from hadnas.hosts.host import make_plan
from hadnas.search.distill.distill import Distilled, distill
from hadnas.train.data.spec import DataSpec, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import fit

MODEL, BEST, SEEDS, EPOCHS = "mobilenetv4_conv_small_035", 4, (0, 1, 2), (1, 2)
SPACES = {
    "all options": "kind:block",
    "replacements": {"kind:block": [option for option in DEFAULT_OPTIONS["block"] if option != "drop"]},
}
TUNING = {"batch": 64, "lr": 2e-3, "warmup_epochs": 0}


def images(home: Path) -> DataSpec:
    """The digits, each pixel four times as wide and high."""
    pixels, labels = load_digits(return_X_y=True)
    large = np.kron(pixels.reshape(-1, 8, 8) * 15.9, np.ones((4, 4))).astype(np.uint8)
    home.mkdir(parents=True, exist_ok=True)
    np.savez(home / "digits.npz", train_images=large, train_labels=labels)
    return DataSpec(source=str(home / "digits.npz"), mean=(0.0,), std=(0.5,))


def rows(home: Path, seed: int) -> Iterator[tuple[str, Distilled, int, float, float]]:
    """Space, distillation, epochs, and the accuracy of each of its combinations from fresh and from distilled parts."""
    spec, parent = images(home), home / f"parent-{seed}.safetensors"
    data = load_data(spec)
    task = Task.image(*data.shape, classes=data.classes)
    if not parent.exists():
        network = build_seeded(make_plan({"op": "timm", "model": MODEL}, task), seed)
        fit(network, data, Recipe(epochs=20, batch=64, lr=4e-3), seed=seed)
        save_weights(network, parent, images={"mean": data.mean, "std": data.std, "shape": data.shape})
    for name, sites in SPACES.items():
        space = hadnas.graft(MODEL, sites, weights=str(parent))
        study = hadnas.Study(name=f"{name}_{seed}".replace(" ", "_"), space=space, data=spec, latency=None, seed=seed)
        found = distill(study, hadnas.Home(home), best=BEST, device="cpu")
        for one in found.combinations:
            fresh = make_plan({**one.arch.node, "weights": space["weights"]}, task)
            for epochs in EPOCHS:
                recipe = Recipe(epochs=epochs, **TUNING)
                ends = [
                    fit(build_seeded(plan, seed), data, recipe, seed=seed)
                    for plan in (fresh, make_plan(one.arch, task))
                ]
                yield name, found, epochs, *(end.score.accuracy for end in ends)


if __name__ == "__main__":
    torch.set_num_threads(1)
    home, table = Path(sys.argv[1]), {}
    for seed in SEEDS:
        for name, found, epochs, fresh, started in rows(home, seed):
            print(seed, name, f"parent {found.accuracy:.4f}", epochs, f"{fresh:.4f} {started:.4f}", flush=True)
            table.setdefault((name, epochs), {}).setdefault(seed, []).append((fresh, started))
    for (name, epochs), by_seed in table.items():
        means = np.array([np.mean(pairs, 0) for pairs in by_seed.values()])
        gains = means[:, 1] - means[:, 0]
        half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
        n, ends = sum(map(len, by_seed.values())), means.mean(0)
        print(f"{name}, {epochs} epochs, {n} combinations: fresh {ends[0]:.4f}, distilled {ends[1]:.4f}, gain", end=" ")
        print(f"{gains.mean():+.4f} ({gains.mean() - half:+.4f} to {gains.mean() + half:+.4f}); seeds {gains.round(4)}")
