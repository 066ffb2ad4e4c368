"""What a fine-tuning gains from distilled weights: the combinations that `hadnas distill` enqueues, trained from both.

python tests/bench/distilled_start.py HOME SITES  # HOME is an empty folder, SITES a pattern: blocks.2.*

For every seed, MODEL is trained on the digits at 32 x 32, OPTIONS at SITES are distilled, and the BEST combinations by
parameters are fine-tuned: from the parent with fresh new parts, and from the file that `hadnas distill` wrote. Accuracy
of the validation images; gains are of equal seeds and combinations, with Student's 95 % over the means of the seeds.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits

import hadnas
from hadnas.arch.task import Task
from hadnas.hosts.build import build_seeded, save_weights
from hadnas.hosts.host import make_plan
from hadnas.search.distill.distill import distill
from hadnas.space import one_of, op
from hadnas.train.data.spec import DataSpec, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import fit

MODEL, BEST, SEEDS, EPOCHS = "mobilenetv4_conv_small_035", 4, (0, 1, 2), (1, 2)
CHEAPER = op("conv_next", expand=1, kernel=one_of(3, 7))
OPTIONS = ["keep", op("residual", block=CHEAPER, merge=op("add"), layer_scale=0.1)]
TUNING = Recipe(batch=64, lr=2e-3, warmup_epochs=0)


def images(home: Path) -> DataSpec:
    """The digits, each pixel four times as wide and high."""
    pixels, labels = load_digits(return_X_y=True)
    large = np.kron(pixels.reshape(-1, 8, 8) * 15.9, np.ones((4, 4))).astype(np.uint8)
    home.mkdir(parents=True, exist_ok=True)
    np.savez(home / "digits.npz", train_images=large, train_labels=labels)
    return DataSpec(source=str(home / "digits.npz"), mean=(0.0,), std=(0.5,))


def accuracies(home: Path, sites: str, seed: int) -> np.ndarray:
    """Of each combination and number of epochs (N, E, 2): from fresh and from distilled parts."""
    torch.set_num_threads(1)
    folder = home / str(seed)
    spec, parent = images(folder), folder / "parent.safetensors"
    data = load_data(spec)
    task = Task.image(*data.shape, classes=data.classes)
    network = build_seeded(make_plan({"op": "timm", "model": MODEL}, task), seed)
    fit(network, data, Recipe(epochs=15, batch=64, lr=4e-3), seed=seed)
    save_weights(network, parent, images={"mean": data.mean, "std": data.std, "shape": data.shape})
    space = hadnas.graft(MODEL, {sites: OPTIONS}, weights=str(parent))
    study = hadnas.Study(name="start", space=space, data=spec, latency=None, seed=seed)
    found = distill(study, hadnas.Home(folder), figure="params", best=BEST, device="cpu")
    ends = []
    for one in found.combinations:
        changed = sum(bool(part.option.sites) for part in one.options)
        plans = make_plan({**one.arch.node, "weights": space["weights"]}, task), make_plan(one.arch, task)
        for epochs in EPOCHS:
            recipe = TUNING.model_copy(update={"epochs": epochs})
            pair = [fit(build_seeded(plan, seed), data, recipe, seed=seed).score.accuracy for plan in plans]
            print(f"seed {seed}, parent {found.accuracy:.4f}, {changed} changed, {epochs} epochs: {pair}", flush=True)
            ends.append(pair)
    return np.array(ends).reshape(-1, len(EPOCHS), 2)


if __name__ == "__main__":
    with ProcessPoolExecutor(len(SEEDS)) as pool:
        by_seed = list(pool.map(partial(accuracies, Path(sys.argv[1]), sys.argv[2]), SEEDS))
    for place, epochs in enumerate(EPOCHS):
        means = np.array([ends[:, place].mean(0) for ends in by_seed])
        fresh, distilled = means.mean(0)
        gains = means[:, 1] - means[:, 0]
        half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
        print(
            f"{epochs} epochs, {sum(map(len, by_seed))} networks: fresh {fresh:.4f}, distilled {distilled:.4f}", end=" "
        )
        print(f"gain {gains.mean():+.4f} ({gains.mean() - half:+.4f} to {gains.mean() + half:+.4f}); {gains.round(4)}")
