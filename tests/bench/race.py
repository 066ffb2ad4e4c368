"""The race: bare Optuna, random draws and hadnas by default, each training every network that it chooses.

python tests/bench/race.py fashion_mnist_small.npz  # writes race.csv; started again, continues after the last search
python tests/bench/race_facts.py                    # the table of docs/results.md and docs/race.png

The images are those of HadaBench, 8 x 8, 5,000 to train and 5,000 to validate; space and recipe are those of
`bare_optuna.py`. Two processes of one thread. A row of race.csv is a training; its `part` is

pilot   random networks and the cheapest of many draws, two seeds each: spread, noise and the reference point
search  trial by trial; search and training have one seed, so that a network has one accuracy in all searches of a seed
judge   every network that was on the front of a search at some time, by seeds that no search has

`draw` is the index of the answer at each decision, in their order; `work` is MACs x epochs x images.
"""

import argparse
import csv
import itertools
import multiprocessing
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import optuna
import torch
from bare_optuna import RECIPE, SPACE, search
from hadabench import TASK, shrunk
from rich.progress import track

from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.cost import cost
from hadnas.measure.front import pareto_front
from hadnas.results.table import StudyResults
from hadnas.search.proposals.prospects import prospects
from hadnas.search.run import run_study
from hadnas.space import Distribution, Params, Scalar, draws, replay, resolve
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.train.data.spec import Data, DataSpec, load_data
from hadnas.train.trainer import fit

FILE = Path(__file__).with_suffix(".csv")
COLUMNS = ("part", "sampler", "search", "trial", "fingerprint", "macs", "work", "seed", "val_accuracy", "draw")
SAMPLERS = {"bare TPE": "", "random": "random", "hadnas": "surrogate"}
TRIALS, PILOTS, CHEAPEST, DRAWS = 40, 12, 4, 3000
JUDGES = (1000, 1001)
DIRECTIONS = ("maximize", "minimize")

Row = dict[str, object]


def written(answers: Params) -> str:
    """The draw of some answers, as `draw`."""
    places: list[int] = []

    def pick(name: str, choice: Distribution) -> Scalar:
        places.append(choice.values.index(answers[name]))
        return answers[name]

    resolve(SPACE, pick)
    return " ".join(map(str, places))


def plan_of(draw: str) -> Plan:
    """The network of `draw`."""
    places = map(int, draw.split())
    return make_plan(resolve(SPACE, lambda name, choice: choice.values[next(places)]), TASK)


def spec(images: str) -> DataSpec:
    return DataSpec(source=images, val_fraction=0.5)


def row(data: Data, plan: Plan, draw: str, macs: int, seed: int, accuracy: float, **where: object) -> Row:
    work = macs * RECIPE.epochs * len(data.train)
    found = {"fingerprint": plan.arch.fingerprint, "macs": macs, "work": work, "seed": seed, "draw": draw}
    return {**where, **found, "val_accuracy": round(accuracy, 4)}


def trained(images: str, draw: str, seed: int, part: str) -> list[Row]:
    """One training, for the pilot or as a judge."""
    plan, data = plan_of(draw), load_data(spec(images))
    macs = cost(build_plan(plan, device="meta"), TASK.shape).macs
    accuracy = fit(build_seeded(plan, seed), data, RECIPE, seed=seed).score.accuracy
    return [row(data, plan, draw, macs, seed, accuracy, part=part)]


def searched(images: str, sampler: str, seed: int) -> list[Row]:
    """The trainings of one search, in their order."""
    data = load_data(spec(images))
    if not SAMPLERS[sampler]:
        study = search(data, seed, TRIALS)
    else:
        with tempfile.TemporaryDirectory() as folder:
            home = Home(folder)
            settings = {"recipe": RECIPE, "sampler": SAMPLERS[sampler], "trials": TRIALS, "seed": seed}
            run_study(Study(name="race", space=SPACE, data=spec(images), latency=None, **settings), home, device="cpu")
            study = StudyResults("race", home).book
    rows: list[Row] = []
    for trial in study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
        plan = make_plan(replay(SPACE, trial.params), TASK)
        known = any(other["fingerprint"] == plan.arch.fingerprint for other in rows)
        if not (known and SAMPLERS[sampler]):  # hadnas does not train a network again
            accuracy, macs = trial.values
            where = {"part": "search", "sampler": sampler, "search": seed, "trial": len(rows) + 1}
            rows.append(row(data, plan, written(trial.params), int(macs), seed, accuracy, **where))
    return rows


def pilots() -> list[str]:
    """The draws of the pilot."""
    problem = prospects(SPACE, TASK, ("val/accuracy", "macs"))
    found = list(itertools.islice(draws(SPACE, random.Random(0)), DRAWS))
    macs = [problem.describe(*draw).known["macs"] for draw in found]
    return [written(found[i][0]) for i in (*range(PILOTS), *np.argsort(macs)[:CHEAPEST])]


def met_fronts(rows: list[Row]) -> Iterator[list[Row]]:
    """The front after each training of one search, each network once, by the accuracies that the search saw."""
    for n in range(1, len(rows) + 1):
        seen = list({each["fingerprint"]: each for each in rows[:n]}.values())
        values = [(float(each["val_accuracy"]), float(each["macs"])) for each in seen]
        yield [seen[i] for i in pareto_front(values, DIRECTIONS)]


def read() -> dict[str, list[Row]]:
    """part -> rows."""
    parts: dict[str, list[Row]] = defaultdict(list)
    if FILE.exists():
        with FILE.open(newline="") as file:
            for found in csv.DictReader(file):
                parts[found["part"]].append(found)
    return parts


def searches(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    """(sampler, seed) -> the trainings of that search."""
    found: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for each in rows:
        found[str(each["sampler"]), int(str(each["search"]))].append(each)
    return found


def left(part: str, seeds: int) -> list[tuple[Callable[..., list[Row]], tuple[object, ...]]]:
    """What is not in the file yet."""
    done = read()
    if part == "search":
        wanted = itertools.product(range(seeds), SAMPLERS)
        return [(searched, (name, seed)) for seed, name in wanted if (name, seed) not in searches(done[part])]
    met = {(each["draw"], int(str(each["seed"]))) for each in done[part]}
    if part == "pilot":
        chosen = [(draw, seed) for draw in pilots() for seed in (0, 1)]
    else:
        fronts = (front for mine in searches(done["search"]).values() for front in met_fronts(mine))
        drawn = {each["fingerprint"]: each["draw"] for front in fronts for each in front}
        chosen = [(draw, seed) for seed in JUDGES for draw in drawn.values()]
    return [(trained, (*task, part)) for task in chosen if task not in met]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="searches of each sampler")
    chosen = parser.parse_args()
    found = np.load(chosen.images)
    if not FILE.exists():
        FILE.write_text(",".join(COLUMNS) + "\n")
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, FILE.open("a", newline="") as out:
        images = str(Path(folder) / "images.npz")
        small = {f"{part}_images": shrunk(found[f"{part}_images"]) for part in ("train", "test")}
        np.savez(images, **small, train_labels=found["train_labels"].ravel(), test_labels=found["test_labels"].ravel())
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        with ProcessPoolExecutor(2, spawn, torch.set_num_threads, (1,)) as pool:
            for part in ("pilot", "search", "judge"):
                tasks = [pool.submit(function, images, *task) for function, task in left(part, chosen.seeds)]
                for task in track(as_completed(tasks), part, len(tasks)):
                    writer.writerows(task.result())
                    out.flush()


if __name__ == "__main__":
    main()
