"""Where the time of a trial goes: the split per phase, and what a trial costs outside training and latency.

python tests/bench/bench_trial.py            # 12 random candidates of four_families, one epoch each, in a new home
python tests/bench/bench_trial.py digits     # of a study that ran, in runs/ or HADNAS_HOME

Bar (2 cores): under 0.5 s a trial outside training and latency; latency under 1.5 s.
"""

import sys
import tempfile

from rich.console import Console
from rich.table import Table

from hadnas.library import load
from hadnas.opened import OpenStudy, open_study
from hadnas.search.run import run_study
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

MEASURED = ("train", "latency")


def split(results: OpenStudy) -> Table:
    """Median, quartiles and share of each phase over the trials that were trained here."""
    frame = results.trials_dataframe(full=True)
    frame = frame[(frame["state"] == "complete") & (frame["reused"] == False)]  # noqa: E712  # None is a baseline
    phases = frame[[column for column in frame.columns if column.startswith("phase.")]].fillna(0.0)
    phases.columns = [column.removeprefix("phase.") for column in phases.columns]
    if {"train", "record"} <= set(phases.columns):
        phases["train"] -= phases["record"]  # what is written down per epoch is written inside training
    phases["outside training and latency"] = phases.drop(columns=[c for c in MEASURED if c in phases]).sum(axis=1)
    table = Table(
        "phase", "median s", "quartiles", "largest", title=f"{results.name}: n = {len(phases)} trials", box=None
    )
    for name, column in phases.items():
        low, mid, high = column.quantile([0.25, 0.5, 0.75])
        table.add_row(str(name), f"{mid:.3f}", f"{low:.3f} to {high:.3f}", f"{column.max():.3f}")
    return table


def main() -> None:
    if len(sys.argv) > 1:
        Console().print(split(open_study(sys.argv[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        study = Study(name="bench", space=load("search_spaces/four_families"), recipe=Recipe(epochs=1), trials=12)
        run_study(study.model_copy(update={"sampler": "random"}), Home(folder))
        Console().print(split(open_study("bench", folder)))


if __name__ == "__main__":
    main()
