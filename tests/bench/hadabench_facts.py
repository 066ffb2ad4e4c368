"""What HadaBench holds: spread and noise of its accuracies, and how early figures of a training rank its last accuracy.

python tests/bench/hadabench_facts.py     # the figures of docs/hadabench.md
"""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from hadnas.samplers.rungs import Course, prediction

HERE = Path(__file__).parent
EPOCHS, REPEATS, KNOWN = 8, 50, 20
CURVES = ("train_loss", "val_loss", "val_accuracy")

Row = dict[str, str]


def load(seed: int) -> dict[tuple[str, ...], Row]:
    """Decisions -> row."""
    with (HERE / f"hadabench-{seed}.csv").open(newline="") as file:
        return {tuple(list(row.values())[: list(row).index("seed")]): row for row in csv.DictReader(file)}


def last(row: Row) -> float:
    return float(row[f"val_accuracy@{EPOCHS}"])


def course(row: Row) -> Course:
    points = [
        tuple(float(row[f"{name}@{e}"]) for name in ("train_loss", "val_loss", "val_accuracy")) for e in range(1, 9)
    ]
    return Course(points, [np.log10(float(row[name])) for name in ("macs", "params")], ())


def rho(left: np.ndarray, right: np.ndarray) -> float:
    return float(spearmanr(left, right).statistic)


def spread() -> None:
    first, second = load(0), load(1)
    accuracies = np.array([last(row) for row in first.values()])
    print(
        f"n = {len(accuracies)}: {accuracies.min():.3f} to {accuracies.max():.3f}, mean {accuracies.mean():.3f}, ",
        end="",
    )
    print(f"standard deviation {accuracies.std(ddof=1):.4f}")
    pairs = np.array([(last(first[key]), last(row)) for key, row in second.items()])
    means, noise = pairs.mean(axis=1), np.sqrt(np.mean(np.diff(pairs) ** 2) / 2)
    top = means > np.quantile(means, 0.75)
    print(f"two seeds, n = {len(pairs)}: between networks {means.std(ddof=1):.4f}, between seeds {noise:.4f}, ", end="")
    print(f"ranks {rho(*pairs.T):.3f}, in the top quarter (n = {top.sum()}) {rho(*pairs[top].T):.3f}")
    for title, place in (("merge", 1), ("first block", 2)):
        groups = defaultdict(list)
        for row in first.values():
            cells = [
                value for name, value in row.items() if value and (name == "merge" or name.endswith("blocks.0.block"))
            ]
            groups[cells[place - 1]].append(last(row))
        print(title, {name: f"{np.mean(values):.3f} (n = {len(values)})" for name, values in groups.items()})


def early() -> None:
    rows = [*load(0).values()]
    reached, courses = np.array([last(row) for row in rows]), [course(row) for row in rows]
    macs = np.array([one.costs[0] for one in courses])
    print(f"rank correlation with the last accuracy, n = {len(rows)}: MACs {rho(macs, reached):.3f}")
    rng = np.random.default_rng(0)
    for epoch in (1, 2, 4, 6):
        curves = np.array([one.curve[:epoch] for one in courses])
        single = [curves[:, -1, 2], -curves[:, -1, 1], -curves[:, :, 0].sum(axis=1)]
        predicted = []
        for _ in range(REPEATS):
            order = rng.permutation(len(rows))
            known, others = [courses[i] for i in order[:KNOWN]], order[KNOWN:]
            found = [prediction(Course(courses[i].curve[:epoch], courses[i].costs, ()), known).mean for i in others]
            predicted.append(rho(np.array(found), reached[others]))
        accuracy, loss, train = (f"{rho(values, reached):.3f}" for values in single)
        print(f"epoch {epoch}: accuracy {accuracy}, loss {loss}, training losses {train}, ", end="")
        print(f"predicted from {KNOWN} others {np.mean(predicted):.3f} (n = {REPEATS} draws of these)")


if __name__ == "__main__":
    spread()
    early()
