"""How far a study on PostgreSQL scales: workers that sleep, threads of the storage path, what a trial costs.

PYTHONPATH=. python tests/bench/scale.py workers  # 8 processes against one; 8 minutes, 4 GB
PYTHONPATH=. python tests/bench/scale.py threads  # trials per second by threads, without torch; 1 minute
PYTHONPATH=. python tests/bench/scale.py trial    # a trial on PostgreSQL against SQLite; 2 minutes

Each starts a PostgreSQL of its own (Debian's package `postgresql`). Workers train by `sleep`, which computes nothing.

Bars: 8 workers at least 6 times one, the total exact and nothing trained twice; PostgreSQL at most 2 times SQLite.
"""

import collections
import itertools
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from optuna.trial import TrialState

from hadnas.samplers.sampler import make_sampler
from hadnas.search.proposals.propose import propose
from hadnas.search.run import run_study
from hadnas.search.tally import RunningTally
from hadnas.store.database import close_engines
from hadnas.store.home import Home, optuna_storage
from hadnas.store.ledger import Ledger
from hadnas.store.study import Study
from hadnas.store.trials import Trials
from tests.bench.growth import noise, study_of
from tests.servers import installed_postgres, running_postgres

SECONDS = float(os.environ.get("HADNAS_BENCH_SECONDS", "10"))
TRIALS, WORKERS, ALONE = 200, 8, 14


def sleep(module: Any, data: Any, until: int, report: Any) -> None:
    """A training that computes nothing."""
    time.sleep(SECONDS)


def at_once(module: Any, data: Any, until: int, report: Any) -> None:
    """A training that takes no time."""


def workers(folder: Path, url: str) -> None:
    """Throughput of one and of eight worker processes, between the ends of the first and the last trial."""
    images, rates = noise(folder), []
    for count, trials in ((1, ALONE), (WORKERS, TRIALS)):
        study, home = study_of(trials, images, f"workers-{count}"), Home(folder, url, f"sqlite:///{folder}/mlflow.db")
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=_search, args=(study, home)) for _ in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        book = optuna.load_study(study_name=study.name, storage=optuna_storage(home))
        ended = book.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
        with closing(Ledger(home.url)) as ledger:
            done = RunningTally(study.metric_figure).update(ended).done
            trainings = ledger.trainings(study=study.name)
        close_engines()
        again = sum(training.attempt - 1 for training in trainings)
        names = collections.Counter(training.key.fingerprint for training in trainings)
        again += sum(times - 1 for times in names.values())
        times = sorted(trial.datetime_complete for trial in ended if trial.datetime_complete)
        rates.append((len(times) - count) / (times[-1] - times[count - 1]).total_seconds())
        print(
            f"{count} workers, training {SECONDS:.0f} s: {done} architectures of {trials}, {again} trained again, "
            f"{rates[-1]:.3f} trials/s, exit statuses {[process.exitcode for process in processes]}",
            flush=True,
        )
    print(f"{WORKERS} workers are {rates[1] / rates[0]:.2f} times one")


def _search(study: Study, home: Home) -> None:
    run_study(study, home, evaluate=sleep)


def threads(folder: Path, url: str) -> None:
    """Claims, proposals and results as a search writes them, in threads of one process, each with its connections."""
    for count in (1, 2, 4, 8, 16):
        study, trials = study_of(200, Path("none"), f"threads-{count}"), itertools.count()
        made = optuna.create_study(
            storage=optuna_storage(Home(folder, url)), study_name=study.name, directions=study.directions
        )
        began, cpu = time.perf_counter(), time.process_time()
        some = [threading.Thread(target=_storage_path, args=(study, Home(folder, url), trials)) for _ in range(count)]
        for thread in some:
            thread.start()
        for thread in some:
            thread.join()
        took, used = time.perf_counter() - began, time.process_time() - cpu
        ended = made.get_trials(states=(TrialState.COMPLETE,))
        assert len(ended) == len({trial.user_attrs["draw"] for trial in ended})
        print(
            f"{count:2} threads: {len(ended) / took:6.1f} trials/s, {used / len(ended):.4f} CPU s a trial", flush=True
        )


def _storage_path(study: Study, home: Home, trials: Any) -> None:
    """Open the study as a worker does, then propose, note, tell and end trials until the budget is met."""
    storage = optuna_storage(home)
    kept = Trials(optuna.load_study(study_name=study.name, storage=storage), storage)
    counts, sampler = RunningTally(study.metric_figure), make_sampler("random", 0)
    with closing(Ledger(home.url)) as ledger, ledger.worker.alive():
        while next(trials) < study.trials:
            proposal = propose(study, kept, ledger.claims, sampler, counts)
            if proposal is None:
                return
            number, figures = proposal.number, {study.metric_figure: 0.5, "macs": 1000.0}
            kept.note(number, fingerprint=f"f{number}", figures=figures, notes={"code": "c"}, phases={"train": 1.0})
            ledger.claims.check(proposal.held)
            kept.tell(number, {"trains": 0.0}, [0.5, 1000.0])
            ledger.claims.end(proposal.held)
    storage.engine.dispose()


def compared(folder: Path, url: str) -> None:
    """Seconds from one result to the next in a search that trains nothing."""
    images, medians = noise(folder), dict[str, list[float]]()
    for place, address in (("SQLite", None), ("PostgreSQL", url)) * 2:
        number = len(list(folder.glob("trial-*")))
        home, study = Home(folder / f"trial-{number}", address, f"sqlite:///{folder}/mlflow.db"), study_of(20, images)
        study = study.model_copy(update={"name": f"trial-{number}"})
        run_study(study, home, evaluate=at_once)
        book = optuna.load_study(study_name=study.name, storage=optuna_storage(home))
        times = [each.datetime_complete.timestamp() for each in book.get_trials() if each.datetime_complete]
        median = np.median(np.diff(times))
        medians.setdefault(place, []).append(median)
        print(f"{place:10} {median:.3f} s a trial (median of {len(times) - 1})", flush=True)
    print(f"PostgreSQL is {min(medians['PostgreSQL']) / min(medians['SQLite']):.2f} times SQLite")


PARTS: dict[str, Callable[[Path, str], None]] = {"workers": workers, "threads": threads, "trial": compared}


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    binaries = installed_postgres()
    assert binaries is not None
    for part in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder, running_postgres(binaries) as server:
            PARTS[part](Path(folder), server.url)
            close_engines()


if __name__ == "__main__":
    main()
