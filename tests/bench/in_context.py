"""In-context regression over the length of the context: networks against ridge regression, by squared error.

python tests/bench/in_context.py train out.csv 5 10 20 40
python tests/bench/in_context.py table out.csv

The first command trains the networks SHOWN of the study's space on contexts of each length, with three seeds by the
study's recipe, and appends to the file the squared errors on the validation examples of every length; networks in it
are not trained again. The second prints, for each length, the mean squared error over that of ridge regression on the
same examples, with its 95 % interval over seeds and examples, then that of networks trained on contexts of 10 on those
of the other lengths. Expected: the tables of the study `in_context`.
"""

import argparse
import csv
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import hadnas
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.hosts.build import build_seeded
from hadnas.hosts.host import make_plan
from hadnas.results.statistics import Estimate, mean_score
from hadnas.space.draw import every
from hadnas.store.study import Study
from hadnas.train.data.sources.in_context import IN_CONTEXT, NOISE_VARIANCE, POINT_DIM
from hadnas.train.data.spec import Data, load_data
from hadnas.train.trainer import fit

SEEDS = 3
LENGTHS = (5, 10, 20, 40)
TRAINED = 10
"""The length of the networks that are tested on all lengths."""

TIMED = 20
"""The length of the networks whose seconds are shown, that of the study."""

SHOWN = (
    "linear_cross_attention, heads 1, no norm",
    "cross_attention, heads 1",
    "cross_attention, heads 4",
    "linear_cross_attention, heads 1",
    "concat_mlp after mlp",
    "linear_cross_attention, heads 1, no norm after attention",
    "cross_attention, heads 4 after attention",
)


def name_of(arch: hadnas.Arch) -> str:
    """The fusion with its heads, and the block that the columns of the context pass before it."""
    fusion, blocks = arch.node["fusion"], arch.node["right"]["stages"][0]["blocks"]
    name = fusion["op"] + (f", heads {fusion['heads']}" if "heads" in fusion else "")
    name += ", no norm" if fusion.get("norm", "") is None else ""
    return name + "".join(f" after {residual['block']['op']}" for residual in blocks)


def read_split(data: Data) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries (N, 5), contexts (N, 6, length) and targets (N,) of the validation split, in the data's own units."""
    (queries, contexts), targets = next(data.val.batches(len(data.val)))
    found = []
    for values, moments in zip((queries, contexts[:, :, 0]), data.moments_of_inputs, strict=True):
        assert moments is not None
        mean, std = (np.array(one).reshape(-1, *[1] * (values.ndim - 2)) for one in moments)
        found.append(values.numpy() * std + mean)
    return found[0], found[1], targets[:, 0].numpy()


def ridge_errors(queries: np.ndarray, contexts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Squared errors (N,) of the mean of w . x given the context, ridge regression with a penalty of the variance."""
    points, values = contexts[:, :POINT_DIM], contexts[:, POINT_DIM:]
    covariance = points @ points.mT + NOISE_VARIANCE * np.eye(POINT_DIM)
    weights = np.linalg.solve(covariance, points @ values.mT)[:, :, 0]
    found: np.ndarray = ((weights * queries).sum(1) - targets) ** 2
    return found


def step_errors(queries: np.ndarray, contexts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Squared errors (N,) of one step of gradient descent from 0, of the length that is best in the mean.

    The best prediction of one linear attention (Ahn et al., 2023, arXiv 2306.00297, theorem 1).
    """
    points, values = contexts[:, :POINT_DIM], contexts[:, POINT_DIM]
    length = contexts.shape[2]
    step = 1 / (1 + (POINT_DIM + 1 + NOISE_VARIANCE) / length)
    found: np.ndarray = (step / length * np.einsum("ndl,nl,nd->n", points, values, queries) - targets) ** 2
    return found


def network_errors(module: torch.nn.Module, data: Data) -> np.ndarray:
    """Squared errors (N,) of a network on the validation split."""
    with torch.inference_mode():
        found = [(module(*inputs) - targets).square()[:, 0] for inputs, targets in data.val.batches(500)]
    return torch.cat(found).numpy()


def train(study: Study, lengths: list[int], path: Path) -> None:
    done = {(int(row[0]), row[2], int(row[3])) for row in csv.reader(path.open())} if path.exists() else set()
    known = {length: load_data(f"{IN_CONTEXT}:{length}") for length in LENGTHS}
    for length in lengths:
        data = known[length]
        task = Task(data.inputs, data.classes, data.target)
        archs = {name_of(arch): arch for arch in (complete(draw, task) for _, draw in every(study.space))}
        for name, seed in itertools.product(SHOWN, range(SEEDS)):
            if (length, name, seed) in done:
                continue
            module = build_seeded(make_plan(archs[name], task), seed)
            result = fit(module, data, study.recipe, seed=seed)
            tested = {other: network_errors(module, known[other]) for other in LENGTHS}
            with path.open("a") as file:
                for other, errors in tested.items():
                    own = " ".join(f"{error:.4g}" for error in errors)
                    csv.writer(file).writerow([length, other, name, seed, f"{result.seconds:.1f}", own])
            print(length, name, seed, {other: round(float(e.mean()), 4) for other, e in tested.items()}, flush=True)


def table(path: Path) -> None:
    csv.field_size_limit(10**8)
    rows: dict[tuple[str, int, int], list[np.ndarray]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for length, tested, name, _, spent, own in csv.reader(path.open()):
        rows[name, int(length), int(tested)].append(np.array(own.split(), float))
        if int(length) == TIMED:
            seconds[name].append(float(spent))
    splits = {length: read_split(load_data(f"{IN_CONTEXT}:{length}")) for length in LENGTHS}
    ridge = {length: float(ridge_errors(*split).mean()) for length, split in splits.items()}
    n = len(splits[TRAINED][2])
    print(f"mean squared error over ridge's, {SEEDS} seeds, n = {n}; length " + ", ".join(map(str, LENGTHS)))
    print("  ridge's own: " + ", ".join(f"{ridge[length]:.4f}" for length in LENGTHS))
    steps = [mean_score([step_errors(*splits[length]) / ridge[length]]) for length in LENGTHS]
    print(f"  {'one step of gradient descent':58}" + "".join(map(cell, steps)))
    for title, lengths in (("trained on the same length", LENGTHS), (f"trained on {TRAINED}", [TRAINED] * 4)):
        print(title)
        for name in SHOWN:
            found = [rows[name, own, tested] for own, tested in zip(lengths, LENGTHS, strict=True)]
            if all(len(seeds) == SEEDS for seeds in found):
                ratios = [mean_score(np.stack(s) / ridge[t]) for s, t in zip(found, LENGTHS, strict=True)]
                print(f"  {name:58}" + "".join(map(cell, ratios)) + f"{np.median(seconds[name]):7.1f} s")


def cell(found: Estimate) -> str:
    return f"{f'{found.mean:.3g} ({found.low:.3g} to {found.high:.3g})':24}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    trained = commands.add_parser("train")
    trained.add_argument("file", type=Path)
    trained.add_argument("lengths", type=int, nargs="+", choices=LENGTHS)
    commands.add_parser("table").add_argument("file", type=Path)
    given = parser.parse_args()
    if given.command == "table":
        table(given.file)
        return
    torch.set_num_threads(1)
    study = hadnas.load("in_context")
    assert isinstance(study, Study)
    train(study, given.lengths, given.file)


if __name__ == "__main__":
    main()
