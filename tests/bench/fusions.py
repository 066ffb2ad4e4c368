"""Networks of two inputs: the tables of the studies of pairs, and of images with holes.

python tests/bench/fusions.py train fusion_pairs out.csv --data digit_pairs:sum --data digit_pairs:first
python tests/bench/fusions.py train masked_digits holes.csv --data holes:0.25:digits --data holes:0.5:digits
python tests/bench/fusions.py table out.csv

The first commands train every fusion of a study's space, all with the encoders of the first draw, or every network of a
space without fusions, with three seeds by the study's recipe, on every data set named (by default the study's own), and
append a row for each to the file; networks in it are not trained again. Every row has the score of each validation
example: whether it is right, or the absolute error over the standard deviation, mean over the values. The last prints
the mean of each network over the seeds, with its 95 % interval over seeds and examples, and the difference from the
best control (linear_sum or concat_mlp; zero_fill_conv), paired by both.
"""

import argparse
import csv
import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hadnas
from hadnas.arch.random import sample
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.hosts.build import build_seeded
from hadnas.hosts.host import make_plan
from hadnas.results.statistics import accuracy, difference, mean_score
from hadnas.space.draw import every
from hadnas.store.study import Study
from hadnas.train.data.spec import Data, load_data
from hadnas.train.trainer import fit

SEEDS = 3
CONTROLS = ("linear_sum", "concat_mlp", "zero_fill_conv")


def name_of(arch: hadnas.Arch) -> str:
    """The fusion, its degree if it has one, and whether it is an additive twin; without a fusion, the first layer."""
    if "fusion" not in arch.node:
        return "{op} kernel {kernel} width {dim}".format_map(arch.node["stem"])
    fusion = arch.node["fusion"]
    name = fusion["op"] + (f" degree {fusion['degree']}" if "degree" in fusion else "")
    return name + (", twin" if fusion.get("interact") == "sum" else "")


def encoders(arch: hadnas.Arch) -> dict[str, Any]:
    """All but the fusion; nothing of a network without one."""
    return {key: value for key, value in arch.node.items() if key != "fusion" and "fusion" in arch.node}


def scores(module: torch.nn.Module, data: Data) -> np.ndarray:
    """A score of each validation example."""
    with torch.inference_mode():
        outputs = torch.cat([module(*inputs) for inputs, _ in data.val.batches(500)])
    if data.target == "classes":
        return (outputs.argmax(1) == data.val.labels).numpy().astype(int)
    found: np.ndarray = ((outputs - data.val.labels).abs() / torch.tensor(data.target_std)).mean(1).numpy()
    return found


def train(study: Study, sources: list[str], path: Path, products: bool) -> None:
    done = {tuple(row[:3]) for row in csv.reader(path.open())} if path.exists() else set()
    for source in sources or [study.data.source]:
        data = load_data(study.data.model_copy(update={"source": source}))
        task = Task(data.inputs, data.classes, data.target)
        same = encoders(sample(study.space, task, seed=0))
        archs = (complete(draw, task) for _, draw in every(study.space))
        seen = {name_of(arch): arch for arch in archs if encoders(arch) == same}
        for seed, (name, arch) in itertools.product(range(SEEDS), sorted(seen.items())):
            if (source, name, str(seed)) in done or (products and "twin" in name):
                continue
            module = build_seeded(make_plan(arch, task), seed)
            result = fit(module, data, study.recipe, seed=seed)
            with path.open("a") as file:
                own = " ".join(f"{score:.5g}" for score in scores(module, data))
                csv.writer(file).writerow([source, name, seed, f"{result.seconds:.1f}", own])
            print(source, name, seed, {k: round(v, 4) for k, v in result.score.metrics.items()}, flush=True)


def table(path: Path) -> None:
    csv.field_size_limit(10**8)
    known: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for source, name, _, _, own in csv.reader(path.open()):
        known[source][name].append(np.array(own.split(), float))
    for source, rows in known.items():
        whole = {name: np.stack(found) for name, found in rows.items() if len(found) == SEEDS}
        controls = [name for name in whole if name.split()[0] in CONTROLS]
        if not controls or len(whole) < len(rows):
            print(f"\n{source}: not finished")
            continue
        share = all(set(np.unique(found)) <= {0.0, 1.0} for found in whole.values())
        sign = 1 if share else -1
        control = max(controls, key=lambda name: sign * whole[name].mean())
        n = whole[control].shape[1]
        print(
            f"\n{source}: {'accuracy' if share else 'mean absolute error'}, {SEEDS} seeds, n = {n}, against {control}"
        )
        for name in sorted(whole, key=lambda name: -sign * whole[name].mean()):
            found = (accuracy if share else mean_score)(whole[name])
            lead = difference(whole[name], whole[control], share=share)
            line = f"  {name:34} {found.mean:.4f} ({found.low:.4f} to {found.high:.4f})"
            print(line + ("" if name == control else f"  {lead.mean:+.4f} ({lead.low:+.4f} to {lead.high:+.4f})"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    trained = commands.add_parser("train")
    trained.add_argument("study")
    trained.add_argument("file", type=Path)
    trained.add_argument("--data", action="append", default=[])
    trained.add_argument("--products", action="store_true", help="without the additive twins")
    commands.add_parser("table").add_argument("file", type=Path)
    given = parser.parse_args()
    if given.command == "table":
        table(given.file)
        return
    torch.set_num_threads(1)
    study = hadnas.load(given.study)
    assert isinstance(study, Study)
    train(study, given.data, given.file, given.products)


if __name__ == "__main__":
    main()
