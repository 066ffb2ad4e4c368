"""What a study costs that has many trials: resume, the tally, a proposal, the mirror, `hadnas top`, report, compare.

PYTHONPATH=. python tests/bench/growth.py 500 2000 8000  # CPU seconds at so many trials of about 20 parameters

The trials are made up and stored without training; writing 8,000 takes minutes. Homes given by HADNAS_BENCH are kept
there, and used again.

Bars: resume at most 1.5 times Optuna's own reading of its trials in the same process; the tally does not grow.
"""

import contextlib
import io
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hadnas import Recipe, Study, Task, one_of, op, repeat
from hadnas.arch.read import complete
from hadnas.results import sections
from hadnas.results.comparison import overlay
from hadnas.results.insight import insight
from hadnas.results.report import write_report
from hadnas.results.table import StudyResults
from hadnas.samplers.draw import draw_from
from hadnas.samplers.sampler import Seeded, make_sampler
from hadnas.search.evaluator import Evaluator
from hadnas.search.mirror.restore import open_mirror
from hadnas.search.proposals.propose import clear_done, propose
from hadnas.search.run import _Run
from hadnas.search.tally import RunningTally
from hadnas.shell.tables.study import show_top
from hadnas.store.home import Home, optuna_storage
from hadnas.store.ledger import Ledger
from hadnas.store.study_store import open_trials
from hadnas.store.trials import Trials
from hadnas.track.runs import Tracker
from hadnas.train.data.spec import DataSpec, load_data

BLOCKS = (
    op("mlp", expand=one_of(1, 2, 3)),
    op("depthwise", kernel=one_of(3, 5)),
    op("se"),
    op("glu", expand=one_of(1, 2)),
)
BODY = op("residual", norm="batchnorm2d", block=one_of(*BLOCKS), merge=one_of(op("add"), op("gated")))
STAGES = [
    {"dim": one_of(8, 12, 16, 20), "down": op("conv_norm"), "blocks": repeat(BODY, one_of(1, 2, 3))},
    {"dim": one_of(16, 24, 32), "down": op("conv_norm"), "blocks": repeat(BODY, one_of(1, 2, 3, 4))},
]
SPACE = op("pyramid", stem=op("conv_norm", dim=8, stride=1), head=op("pooled_linear"), stages=STAGES)


def noise(folder: Path) -> Path:
    """Images of noise, of four classes."""
    images = folder / "images.npz"
    if not images.exists():
        chance = np.random.default_rng(0)
        pixels, labels = chance.integers(0, 255, (256, 16, 16, 3), dtype=np.uint8), np.arange(256) % 4
        parts = {"train": slice(0, 128), "val": slice(128, 192), "test": slice(192, 256)}
        arrays = {f"{part}_images": pixels[rows] for part, rows in parts.items()}
        np.savez(images, **arrays, **{f"{part}_labels": labels[rows] for part, rows in parts.items()})
    return images


def task_of() -> Task:
    """The task of `noise`."""
    return Task.image(3, 16, 16, classes=4)


def study_of(trials: int, images: Path, name: str = "big") -> Study:
    recipe = Recipe(epochs=1, batch=64)
    fixed: dict[str, Any] = {"space": SPACE, "recipe": recipe, "latency": None, "baselines": {}, "sampler": "random"}
    return Study(name=name, data=DataSpec(source=str(images)), trials=trials, **fixed)


def made_up(trials: int, task: Task) -> Iterator[tuple[FrozenTrial, str, str]]:
    """Complete trials of distinct architectures, each with the fingerprint and the JSON of its architecture."""
    seen: set[str] = set()
    draw, space = make_sampler("random"), SPACE
    number = 0
    while len(seen) < trials:
        number += 1
        drawn = draw_from(space, draw(number), ["maximize", "minimize"], [])
        arch = complete(drawn.node, task)
        if arch.fingerprint in seen:
            continue
        seen.add(arch.fingerprint)
        chance = random.Random(number)
        accuracy, macs = 0.3 + 0.5 * chance.random(), chance.randrange(10**4, 10**6)
        figures = {"val/accuracy": accuracy, "val/loss": 1.0, "macs": macs, "flops": 2 * macs, "elementwise": 1000}
        figures |= {"products": 100, "params": 5000, "activations": 10000, "bytes_moved": 1000, "calls": 50}
        figures |= {"peak_activation_bytes": 1000}
        notes = {"code": "c", "device": "cpu", "val_n": 64, "train_seconds": 1.0, "reused": False}
        notes["weights"] = f"big/weights/{arch.fingerprint}.safetensors"
        phases = {"sample": 0.1, "train": 1.0, "cost": 0.1, "screen": 0.2, "record": 0.1}
        attributes = {
            "draw": len(seen) - 1,
            "worker": "gone",
            "fingerprint": arch.fingerprint,
            "run_id": f"run{number}",
        }
        yield (
            create_trial(
                state=TrialState.COMPLETE,
                values=[accuracy, float(macs)],
                params=drawn.answers,
                distributions=drawn.distributions,
                user_attrs={**attributes, "figures": figures, "notes": notes, "phases": phases},
                system_attrs={"constraints": [0.0]},
            ),
            arch.fingerprint,
            arch.json,
        )


def fill(home: Home, study: Study, trials: int) -> None:
    """Store the study with trials, as if they had been trained."""
    data = load_data(study.data)
    ledger = Ledger(home.url)
    evaluator = Evaluator(study, data, home, ledger, "cpu")
    book = open_trials(study, home, evaluator.facts).book
    home.make_place(study.name)
    for trial, fingerprint, text in made_up(trials, evaluator.task):
        ledger.measured.put_architecture(fingerprint, text)
        book.add_trial(trial)
    ledger.close()


def timed(label: str, function: Callable[[], Any]) -> Any:
    began = time.process_time()
    found = function()
    print(f"{label:46} {time.process_time() - began:9.4f}", flush=True)
    return found


def quietly(function: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            function()

    return run


def measure(home: Home, study: Study) -> None:
    _own_reading(home, study)  # what is imported and prepared once is not counted
    timed("Optuna's own reading", lambda: _own_reading(home, study))
    data = load_data(study.data)
    ledger = Ledger(home.url)
    evaluator = Evaluator(study, data, home, ledger, "cpu")
    run = timed("resume", lambda: _resume(evaluator, home, ledger))
    trials: Trials = run.trials
    timed("get_trials again", lambda: trials.book.get_trials(deepcopy=False))
    timed("all trials again", trials.all)
    run._ended()
    timed("after each trial: the tally", lambda: [run._ended() for _ in range(10)])
    for sampler in ("random", "tpe"):
        asks = [_ask(study, trials, ledger, make_sampler(sampler, 0), run.counts) for _ in range(10)]
        low, high = np.percentile(asks, [50, 95])
        print(f"{f'propose ({sampler}), p50 and p95 of 10':46} {low:9.4f} {high:9.4f}", flush=True)
    timed("failure", lambda: trials.failure("another"))
    timed("the tally after that trial", run._ended)
    for label in ("first", "second"):
        run.mirror.overview._due = 0.0
        timed(f"the mirror's update, {label}", run.mirror.overview.update)
    timed("hadnas top", quietly(lambda: show_top(study.name, home, 5)))
    results = StudyResults(study.name, home)
    timed("compare", lambda: overlay([results, StudyResults(study.name, home)]).draw())
    timed("report: front", lambda: sections.front(results))
    timed("report: history", lambda: sections.history(results))
    timed("report: importances", lambda: insight(results))
    timed("report, whole, in a new process's state", lambda: write_report(StudyResults(study.name, home)))


def _ask(study: Study, trials: Trials, ledger: Ledger, sampler: Seeded, counts: RunningTally) -> float:
    """CPU seconds of a proposal, which is then refused."""
    began = time.process_time()
    proposal = propose(study, trials, ledger.claims, sampler, counts)
    took = time.process_time() - began
    assert proposal is not None
    trials.note(proposal.number, reason="made up")
    trials.tell(proposal.number, {"trains": 1.0}, None)
    ledger.claims.end(proposal.held)
    return took


def _own_reading(home: Home, study: Study) -> None:
    optuna.load_study(study_name=study.name, storage=optuna_storage(home)).get_trials(deepcopy=False)


def _resume(evaluator: Evaluator, home: Home, ledger: Ledger) -> Any:
    """As `run_study` does, with what depends on the trials."""
    trials = open_trials(evaluator.study, home, evaluator.facts)
    results = StudyResults(evaluator.study.name, home, trials.book)
    run = _Run(evaluator, trials, None, lambda progress: None, (), float("inf"), True)
    trials.mend()
    clear_done(evaluator.study.name, trials, ledger.claims)
    run.mirror = open_mirror(results, ledger.worker.id)
    run._ended()
    return run


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with contextlib.ExitStack() as stack:
        kept = os.environ.get("HADNAS_BENCH") or stack.enter_context(tempfile.TemporaryDirectory())
        for trials in map(int, sys.argv[1:]):
            folder = Path(kept) / f"growth-{trials}"
            images = noise(Path(kept))
            study, made = study_of(trials + 2, images), folder.exists()
            home = Home(folder)
            if not made:
                timed(f"{trials} trials are written", lambda: fill(home, study, trials))  # noqa: B023
                Tracker(home.tracking_uri, home.artifacts, study.name).set_whole()  # as if it had their runs
            print(f"\n{trials} trials")
            measure(home, study)


if __name__ == "__main__":
    main()
