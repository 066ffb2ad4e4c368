"""Weight inheritance: does a mutant that starts from its parent's weights rank sooner as a full training ranks it?

python tests/bench/inheritance.py fashion_mnist_small.npz  # writes inheritance.csv; started again, continues
python tests/bench/inheritance.py                          # prints the figures of docs/hadabench.md from it

A parent, drawn at random from the space `hadabench`, is trained by its recipe (8 epochs). A mutant of it, which differs
in one decision, is trained for a quarter and for half of the epochs, each a whole recipe with its own decay: from the
parent's weights, and from scratch. What ranks them is compared with the mutant's accuracy after 8 epochs from scratch
in hadabench-*.csv, whose seeds none of these trainings has.
"""

import argparse
import csv
import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hadabench import RECIPE, TASK, load
from hadabench_facts import last
from hadabench_facts import load as known
from rich.progress import track
from scipy.stats import rankdata
from torch import nn

from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.search_spaces.hadabench import SPACE
from hadnas.space import Params, draws, mutants
from hadnas.train.data.spec import Data
from hadnas.train.trainer import fit

FILE = Path(__file__).with_suffix(".csv")
PAIRS, SEED, SHORT = 40, 2, (2, 4)
ENDS = [f"{start}@{n}" for n in SHORT for start in ("from", "scratch")]
COLUMNS = ("pair", "macs", "inherited", "parent", "full", *ENDS)


def inherit(child: nn.Module, parent: nn.Module) -> float:
    """Copy the tensors whose place, ops on the way there and shape agree; the share of the child's weights copied."""
    theirs, copied = parent.state_dict(), {}
    for key, tensor in child.state_dict().items():
        places = itertools.accumulate(key.split(".")[:-1], "{}.{}".format)
        alike = key in theirs and theirs[key].shape == tensor.shape
        if alike and all(type(child.get_submodule(place)) is type(parent.get_submodule(place)) for place in places):
            copied[key] = theirs[key].clone()
    child.load_state_dict(copied, strict=False)
    weights = dict(child.named_parameters())
    return sum(weights[key].numel() for key in copied if key in weights) / sum(w.numel() for w in weights.values())


def full(answers: Params, names: list[str]) -> float:
    """Mean accuracy of a member's full trainings."""
    key = tuple(str(answers.get(name, "")) for name in names)
    return float(np.mean([last(rows[key]) for rows in (known(0), known(1)) if key in rows]))


def measured(pair: int, data: Data, names: list[str]) -> dict[str, float]:
    """One row."""
    rng = random.Random(pair)
    answers, node = next(draws(SPACE, rng))
    mutated, child = next(mutants(SPACE, answers, rng))
    parent, plan = build_seeded(make_plan(node, TASK), SEED), make_plan(child, TASK)
    found = {"pair": pair, "macs": cost(build_plan(plan, device="meta"), TASK.shape).macs}
    found |= {"parent": fit(parent, data, RECIPE, seed=SEED).score.accuracy, "full": full(mutated, names)}
    for epochs in SHORT:
        short = RECIPE.model_copy(update={"epochs": epochs})
        found[f"scratch@{epochs}"] = fit(build_seeded(plan, SEED), data, short, seed=SEED).score.accuracy
        network = build_seeded(plan, SEED)
        found["inherited"] = round(inherit(network, parent), 4)
        found[f"from@{epochs}"] = fit(network, data, short, seed=SEED).score.accuracy
    return {name: round(value, 5) for name, value in found.items()}


def train(images: Path) -> None:
    torch.set_num_threads(1)
    data = load(images)
    first = next(iter(csv.DictReader((Path(__file__).with_name("hadabench-0.csv")).open(newline=""))))
    names = list(first)[: list(first).index("seed")]
    done = {int(row["pair"]) for row in csv.DictReader(FILE.open(newline=""))} if FILE.exists() else set()
    with FILE.open("a", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for pair in track([pair for pair in range(PAIRS) if pair not in done], "pairs"):
            writer.writerow(measured(pair, data, names))
            out.flush()


def correlations(columns: dict[str, np.ndarray]) -> dict[str, float]:
    """Spearman's rank correlation with the full accuracy, and beyond what MACs rank."""
    ranks = {name: rankdata(values) for name, values in columns.items()}

    def rho(left: str, right: str) -> float:
        return float(np.corrcoef(ranks[left], ranks[right])[0, 1])

    found = {}
    for name in columns.keys() - {"full", "pair", "inherited"}:
        found[name] = rho(name, "full")
        if name != "macs":
            mine, cost_, theirs = rho(name, "macs"), rho("macs", "full"), found[name]
            found[f"{name} beside MACs"] = (theirs - mine * cost_) / np.sqrt((1 - mine**2) * (1 - cost_**2))
    for epochs in SHORT:
        for beside in ("", " beside MACs"):
            found[f"from - scratch@{epochs}{beside}"] = (
                found[f"from@{epochs}{beside}"] - found[f"scratch@{epochs}{beside}"]
            )
    return found


def interval(columns: dict[str, np.ndarray], of: Callable[[dict[str, np.ndarray]], dict[str, float]]) -> None:
    n = len(columns["full"])
    rng = np.random.default_rng(0)
    drawn = [of({name: values[rows] for name, values in columns.items()}) for rows in rng.integers(n, size=(2000, n))]
    for name, value in sorted(of(columns).items()):
        low, high = np.quantile([one[name] for one in drawn], [0.025, 0.975])
        print(f"{name:30} {value:+.3f} ({low:+.3f} to {high:+.3f})")


def facts() -> None:
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}
    print(f"n = {len(rows)} pairs; share of weights inherited: median {np.median(columns['inherited']):.2f}")
    print({name: f"{values.mean():.4f}" for name, values in columns.items()})
    interval(columns, correlations)
    much = columns["inherited"] >= 0.5
    alike = correlations({name: values[much] for name, values in columns.items()})
    print(f"of the {much.sum()} that inherit half or more: {', '.join(f'{name} {alike[name]:.3f}' for name in ENDS)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "images", type=Path, nargs="?", help="of Fashion-MNIST; without it, only the figures are printed"
    )
    chosen = parser.parse_args()
    if chosen.images:
        train(chosen.images)
    facts()
