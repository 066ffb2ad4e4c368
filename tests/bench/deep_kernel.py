"""Does a Gaussian process on learned features predict better than the surrogate's? On HadaBench, out of sample.

PYTHONPATH=. python tests/bench/deep_kernel.py      # minutes on one core
PYTHONPATH=. python tests/bench/deep_kernel.py 2    # of two draws each

The question is that of Tibo and Nielsen, "Inducing Gaussian process networks", 2022, arXiv 2204.09889: a network makes
the features of which the covariance is computed. Inducing points save time where there are thousands of candidates; a
study has at most 500, so the process is exact here. Both learn accuracy from the same 20, 40 or 80 networks, drawn at
random, and rank all others of the 648: Spearman's rho, and the mean accuracy of the ten that are predicted best.

Expected, 20 draws each, with half of the 95 % interval of the difference; two minutes of one busy core:

    networks   rho: surrogate, deep kernel    accuracy of the ten: surrogate, deep kernel
    20         .891  .861  (-.030 ± .023)     .8286  .8304  (+.0018 ± .0024)
    40         .914  .873  (-.041 ± .015)     .8317  .8320  (+.0003 ± .0016)
    80         .944  .910  (-.034 ± .013)     .8330  .8327  (-.0003 ± .0009)
"""

import sys
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from hadnas.library import load_study
from hadnas.measure.front import Array
from hadnas.replay.table import goal, read_table
from hadnas.samplers.gaussian import Gaussian, Scores
from hadnas.samplers.vectors import vectors

PARTS = [Path(__file__).with_name(f"hadabench-{part}.csv") for part in (0, 1)]
SIZES = (20, 40, 80)
STEPS = 300


class DeepKernel(nn.Module):
    """An exact Gaussian process with a squared exponential on the features of a perceptron, both fitted together."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(x.shape[1], 32), nn.Tanh(), nn.Linear(32, 8), nn.Tanh()).double()
        self.scale = nn.Parameter(torch.zeros(2, dtype=torch.float64))  # logarithms of variance and noise
        self.x, self.y = x, y
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2, weight_decay=1e-2)
        for _ in range(STEPS):
            optimizer.zero_grad()
            factor = torch.linalg.cholesky(self._covariance(x, x) + self._noise(len(x)))
            whitened = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
            (whitened.square().sum() / 2 + factor.diagonal().log().sum()).backward()
            optimizer.step()

    def _covariance(self, left: Tensor, right: Tensor) -> Tensor:
        return self.scale[0].exp() * torch.exp(-torch.cdist(self.body(left), self.body(right)).square() / 2)

    def _noise(self, n: int) -> Tensor:
        return (0.1 * self.scale[1].exp() + 1e-6) * torch.eye(n, dtype=torch.float64)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Array:
        known = self._covariance(self.x, self.x) + self._noise(len(self.x))
        found: Array = (self._covariance(x, self.x) @ torch.linalg.solve(known, self.y)).numpy()
        return found


def main(draws: int) -> None:
    torch.set_num_threads(1)
    features = ["log10.macs", "log10.params"]
    wanted = goal(["val_accuracy@8"], ["log10.macs"], ["log10.macs"], [], features, "macs", 8)
    table = read_table(load_study("hadabench").space, PARTS, wanted)
    answers = {key: dict(draw) for draw, key in table.keys.items()}
    keys = sorted(answers)
    decisions = vectors([answers[key] for key in keys], table.problem.distributions(answers.values()))
    sizes = np.array([[np.log10(table.means[key][name]) for name in ("macs", "params")] for key in keys])
    columns = (sizes - sizes.mean(0)) / sizes.std(0)
    accuracy = np.array([table.means[key]["val_accuracy@8"] for key in keys])
    whole = torch.from_numpy(np.concatenate([decisions, columns], axis=1))
    for size in SIZES:
        found = []
        for seed in range(draws):
            order = np.random.default_rng(seed).permutation(len(keys))
            some, rest = order[:size], order[size:]
            torch.manual_seed(seed)
            y = Scores.of(accuracy[some]).scores
            plain = Gaussian(decisions[some], columns[some], accuracy[some])
            deep = DeepKernel(whole[some], torch.from_numpy(y))
            predicted = plain.predict(decisions[rest], columns[rest])[0], deep.predict(whole[rest])
            ranks = [stats.spearmanr(one, accuracy[rest]).statistic for one in predicted]
            best = [accuracy[rest][np.argsort(-one)[:10]].mean() for one in predicted]
            found.append([*ranks, *best])
        table_of = np.array(found)
        print(f"from {size} networks, {draws} draws")
        for name, (plain_at, deep_at) in {"Spearman's rho": (0, 1), "accuracy of the ten": (2, 3)}.items():
            lead = table_of[:, deep_at] - table_of[:, plain_at]
            reach = stats.t.ppf(0.975, draws - 1) * lead.std(ddof=1) / draws**0.5
            means = table_of[:, [plain_at, deep_at]].mean(0)
            print(f"  {name}: surrogate {means[0]:.4f}, deep kernel {means[1]:.4f}, {lead.mean():+.4f} ± {reach:.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
