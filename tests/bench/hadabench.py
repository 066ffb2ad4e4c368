"""HadaBench: every network of the space `hadabench`, trained; one row per network and seed.

python tests/bench/hadabench.py fashion_mnist_small.npz --seed 0  # writes hadabench-0.csv; started again, continues

The images are those of the file, averaged to 8 x 8 pixels: 5,000 train, 5,000 validate, 8 epochs, in which the learning
rate is constant until it decays over the last two. One thread, so that a row does not depend on the machine's cores;
`--part 0/2` and `--part 1/2` are two processes that share a seed, each with a file of its own.
Columns: the decisions, seed, params, macs, and after each epoch train_loss@, val_loss@ and val_accuracy@.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track

from hadnas.arch.task import Task
from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.search_spaces.hadabench import SPACE
from hadnas.space import Params, every
from hadnas.train.data.spec import Data, DataSpec, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import fit

SIDE = 8
RECIPE = Recipe(epochs=8, batch=128, lr=8e-3, schedule="wsd", decay=0.25)
TASK = Task.image(1, SIDE, SIDE, classes=10)
HERE = Path(__file__).parent
CURVES = {"train_loss": 5, "val_loss": 5, "val_accuracy": 4}  # with the decimals that are written


def shrunk(images: np.ndarray) -> np.ndarray:
    """uint8 (N, 28, 28) or (N, 28, 28, 1) averaged to (N, 8, 8, 1)."""
    pixels = torch.from_numpy(images.reshape(len(images), 1, *images.shape[1:3]).astype(np.float32))
    return F.adaptive_avg_pool2d(pixels, SIDE).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def load(path: Path) -> Data:
    """The images at 8 x 8, half of the training images for validation."""
    found = np.load(path)
    names = {"train_labels": found["train_labels"].ravel(), "test_labels": found["test_labels"].ravel()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shrunk.npz"
        np.savez(file, **{f"{part}_images": shrunk(found[f"{part}_images"]) for part in ("train", "test")}, **names)
        return load_data(DataSpec(source=str(file), val_fraction=0.5))


def columns(members: list[tuple[Params, object]]) -> list[str]:
    decisions = list(dict.fromkeys(name for answers, _ in members for name in answers))
    curves = [f"{name}@{epoch}" for epoch in range(1, RECIPE.epochs + 1) for name in CURVES]
    return [*decisions, "seed", "params", "macs", *curves]


def trained(answers: Params, node: object, data: Data, seed: int) -> dict[str, object]:
    """One row."""
    plan = make_plan(node, TASK)
    counted = cost(build_plan(plan, device="meta"), TASK.shape)
    curve = fit(build_seeded(plan, seed), data, RECIPE, seed=seed).curve
    points = {f"{name}@{e.epoch}": round(getattr(e, name), digits) for e in curve for name, digits in CURVES.items()}
    return {**answers, "seed": seed, "params": counted.params, "macs": counted.macs, **points}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="0/1", help="of so many processes, this one")
    parser.add_argument("--out", type=Path, help="the CSV file")
    chosen = parser.parse_args()
    part, parts = map(int, chosen.part.split("/"))
    torch.set_num_threads(1)
    data, members = load(chosen.images), [*every(SPACE)]
    file = chosen.out or HERE / f"hadabench-{chosen.seed}.csv"
    done = [row for row in csv.DictReader(file.open(newline=""))] if file.exists() else []
    names = columns(members)
    decisions = names[: names.index("seed")]
    known = {tuple(row[name] for name in decisions) for row in done}
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, names, lineterminator="\n")
        if not done:
            writer.writeheader()
        for answers, node in track(members[part::parts], f"seed {chosen.seed}"):
            if tuple(str(answers.get(name, "")) for name in decisions) not in known:
                writer.writerow(trained(answers, node, data, chosen.seed))
                out.flush()


if __name__ == "__main__":
    main()
