"""Block-wise distillation: do the scores of options rank networks as fine-tuning does, and is it worth its time?

python tests/bench/distill.py MODEL PARENT.safetensors IMAGES.npz HOME  # appends to distill.csv, or continues it
python tests/bench/distill.py                                          # prints the figures of docs/distillation.md

PARENT is a file that `hadnas retrain` wrote, IMAGES what it was trained on, with the default split; IMAGES_USED of
the training images are used, for the distillation and for the fine-tuning. HOME is an empty folder. POOL combinations
of the options that replace a block, from few to many changed sites, are fine-tuned by RECIPE, with fresh blocks and
from their distilled weights. Three searches are compared: distillation with its BEST combinations,
random architectures and the default sampler; of the last two, those networks that took no more time of the processor,
and all.
"""

import argparse
import csv
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from scipy.stats import spearmanr

import hadnas
from hadnas.arch.task import Task
from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.measure.front import hypervolume
from hadnas.opened import open_study
from hadnas.search.distill.distill import Distilled, Scored, distill
from hadnas.space import replay
from hadnas.train.data.images import HeldImages
from hadnas.train.data.spec import load_data
from hadnas.train.trainer import fit

FILE = Path(__file__).with_suffix(".csv")
COLUMNS = ("arm", "number", "changed", "score", "macs", "fresh", "distilled", "scoring", "seconds")
IMAGES_USED, POOL, BEST, SEED = 2000, 32, 8, 0
RECIPE = hadnas.Recipe(epochs=2, batch=64, lr=2e-3, warmup_epochs=0)
LIMITS = (0.95, 0.85, 0.75)
"""Shares of the parent's MACs."""


def subset(images: Path, folder: Path) -> Path:
    """A file of the first training images, and the validation and test images of the default split."""
    data = load_data(str(images))
    arrays = {}
    for name, split in (("train", data.train), ("val", data.val), ("test", data.open_test())):
        assert isinstance(split.images, HeldImages)
        n = IMAGES_USED if name == "train" else len(split)
        arrays[f"{name}_images"] = split.images.pixels[:n].permute(0, 2, 3, 1).numpy()
        arrays[f"{name}_labels"] = split.labels[:n].numpy()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "images.npz", **arrays)
    return folder / "images.npz"


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(FILE.open(newline=""))) if FILE.exists() else []


def write(**row: object) -> None:
    new = not FILE.exists()
    with FILE.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def drawn(found: Distilled, number: int) -> list[Scored]:
    """One option of each decision: the more are replaced, the larger the number."""
    rng = random.Random(number)
    by_choice: dict[str, list[Scored]] = {}
    for one in found.options:
        by_choice.setdefault(one.choice.name, []).append(one)
    chosen = []
    for options in by_choice.values():
        own = next(one for one in options if not one.option.sites)
        others = [one for one in options if one.option.replaced]
        chosen.append(rng.choice(others) if rng.random() < (number + 0.5) / POOL else own)
    return chosen


def train(model: str, parent: Path, images: Path, home: Path) -> None:
    torch.set_num_threads(1)
    file = home / "images.npz" if (home / "images.npz").exists() else subset(images, home)
    space = hadnas.graft(model, "kind:block", weights=str(parent))
    known = {"space": space, "data": str(file), "recipe": RECIPE, "latency": None, "seed": SEED}
    opened = hadnas.Home(home / "runs")
    begin = time.process_time()
    study = hadnas.Study(name="distilled", trials=BEST, **known)
    found = distill(study, opened, best=BEST, device="cpu")
    started = hadnas.graft(model, "kind:block", weights=str(found.start))
    middle = time.process_time()
    if not any(row["arm"] == "distilled" for row in rows()):
        update = {"trials": len(found.combinations), "space": started}
        hadnas.run_study(study.model_copy(update=update), opened, device="cpu")
        searched("distilled", opened.path, middle - begin, time.process_time() - middle)
    known_rows = [row for row in rows() if row["arm"] == "distilled"]
    scoring, tuning = (float(known_rows[0][name]) for name in ("scoring", "seconds"))
    trials = round(len(known_rows) * (scoring + tuning) / tuning)
    for arm in ("random", "surrogate"):
        if not any(row["arm"] == arm for row in rows()):
            begin = time.process_time()
            hadnas.run_study(hadnas.Study(name=arm, sampler=arm, trials=trials, **known), opened, device="cpu")
            searched(arm, opened.path, 0.0, time.process_time() - begin)
    data = load_data(str(file))
    task = Task.image(*data.shape, classes=data.classes)
    if not any(row["arm"] == "parent" for row in rows()):
        network = build_seeded(make_plan({key: value for key, value in space.items() if key != "sites"}, task), SEED)
        score = fit(network, data, RECIPE, seed=SEED).score
        write(arm="parent", number=0, macs=int(found.parent), fresh=round(score.accuracy, 5))
    done = {int(row["number"]) for row in rows() if row["arm"] == "pool"}
    for number in track([number for number in range(POOL) if number not in done], "combinations"):
        chosen = drawn(found, number)
        params = {key: value for one in chosen for key, value in one.option.params.items()}
        plan = make_plan(replay(space, params), task)
        begin = time.process_time()
        fresh = fit(build_seeded(plan, SEED), data, RECIPE, seed=SEED).score.accuracy
        distilled = build_seeded(make_plan(replay(started, params), task), SEED)
        begun = fit(distilled, data, RECIPE, seed=SEED).score.accuracy
        write(
            arm="pool",
            number=number,
            changed=sum(bool(one.option.sites) for one in chosen),
            score=round(sum(one.divergence.mean for one in chosen), 5),
            macs=cost(build_plan(plan, device="meta"), task.shape).macs,
            fresh=round(fresh, 5),
            distilled=round(begun, 5),
            seconds=round(time.process_time() - begin, 1),
        )


def searched(arm: str, home: Path, scoring: float, seconds: float) -> None:
    """Write the networks that a search trained, with the seconds of the processor for scores and for training."""
    for one in open_study(arm, home).distinct:
        row = {"macs": int(one.figures["macs"]), "fresh": round(one.value, 5), "seconds": round(seconds, 1)}
        row["scoring"] = round(scoring, 1)
        write(arm=arm, number=one.number, **row)


def interval(n: int, of: Callable[[np.ndarray], float]) -> str:
    """A statistic of n rows with its bootstrap interval of 95 %."""
    drawn = [of(places) for places in np.random.default_rng(0).integers(n, size=(2000, n))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{of(np.arange(n)):+.3f} ({low:+.3f} to {high:+.3f})"


def facts() -> Iterator[str]:
    pool = [row for row in rows() if row["arm"] == "pool"]
    column = {name: np.array([float(row[name]) for row in pool]) for name in COLUMNS[2:7]}
    n = len(pool)
    yield f"n = {n} combinations; accuracy {column['fresh'].min():.3f} to {column['fresh'].max():.3f} from fresh blocks"
    for start in ("fresh", "distilled"):

        def rho(name: str, places: np.ndarray, end: np.ndarray = column[start]) -> float:
            return float(spearmanr(column[name][places], end[places]).statistic)

        for sign, name in ((-1, "score"), (1, "macs"), (-1, "changed")):
            yield f"{start}: {name:8} {interval(n, lambda p, name=name, sign=sign: sign * rho(name, p))}"  # type: ignore[misc]
        yield f"{start}: score - MACs {interval(n, lambda p: -rho('score', p) - rho('macs', p))}"
    gain = interval(n, lambda p: float((column["distilled"] - column["fresh"])[p].mean()))
    yield f"accuracy from distilled minus from fresh blocks: {gain}"
    parent = next(row for row in rows() if row["arm"] == "parent")
    whole, limit = float(parent["macs"]), float(parent["fresh"])
    yield f"parent, fine-tuned alike: {limit:.4f}, {whole / 1e6:.2f}M MACs"
    arms = {arm: [row for row in rows() if row["arm"] == arm] for arm in ("distilled", "random", "surrogate")}
    seconds = {arm: float(own[0]["scoring"]) + float(own[0]["seconds"]) for arm, own in arms.items()}
    for arm, own in arms.items():
        number = min(len(own), round(len(own) * seconds["distilled"] / seconds[arm]))
        for found in {number: None, len(own): None}:
            networks = sorted(own, key=lambda row: int(row["number"]))[:found]
            values = [(float(row["fresh"]), float(row["macs"])) for row in networks]
            volume = hypervolume(values, ("maximize", "minimize"), (0.1, whole)) / whole
            best = [max((a for a, macs in values if macs <= share * whole), default=0) for share in LIMITS]
            shares = ", ".join(f"{value:.4f} below {share:.2f}" for value, share in zip(best, LIMITS, strict=True))
            time_ = f"{found} networks, {seconds[arm] * found / len(own):.0f} s"
            yield f"{arm}: {time_}, hypervolume {volume:.4f}; best accuracy {shares} of the parent's MACs"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", nargs="*", metavar="MODEL PARENT IMAGES HOME")
    if given := parser.parse_args().given:
        model, *paths = given
        train(model, *map(Path, paths))
    print(*facts(), sep="\n")
