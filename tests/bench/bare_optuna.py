"""A search as a user of plain Optuna would write it: TPE, accuracy against MACs, on the space `four_families`.

python tests/bench/bare_optuna.py images.npz --seed 0 --trials 40  # `race.py` imports it
"""

import argparse

import optuna
import torch

import hadnas
from hadnas.space import Categorical, resolve
from hadnas.train.data.spec import load_data
from hadnas.train.trainer import fit

SPACE = hadnas.load("four_families")
RECIPE = hadnas.Recipe(epochs=3, batch=128, lr=8e-3)


def search(data, seed, trials):
    task = hadnas.Task.image(*data.shape, classes=data.classes)

    def objective(trial):
        def pick(name, choice):
            if isinstance(choice, Categorical):
                return trial.suggest_categorical(name, choice.values)
            return trial.suggest_int(name, choice.low, choice.high, step=choice.step)

        node = resolve(SPACE, pick)
        torch.manual_seed(seed)
        network = hadnas.build(node, task)
        macs = hadnas.cost(network, task.shape).macs
        return fit(network, data, RECIPE, seed=seed).score.accuracy, macs

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=trials)
    return study


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=40)
    chosen = parser.parse_args()
    data = load_data(hadnas.DataSpec(source=chosen.images, val_fraction=0.5))
    for trial in search(data, chosen.seed, chosen.trials).best_trials:
        print(trial.values, trial.params)
