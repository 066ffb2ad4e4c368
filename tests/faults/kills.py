"""Kills workers at random moments and in every phase of a small study, then lets it end and counts what is wrong.

    python -m tests.faults.kills [--kills N] [--workers N] [--phases] [--after] [--seed N] [--postgres]

Each round starts workers and kills them with SIGKILL: at a random moment; with --phases just before or after a chosen
call. With --after the kills fall into finals, a retraining and exports of the finished study. In the end the command
is run once without kills. Exits with 1 if a finished trial was lost, changed or doubled, a network was trained twice, a
run in MLflow is missing, doubled or open, the total is not exact, or `hadnas doctor` finds a fault.

The parent imports everything once; workers are forks.
"""

import argparse
import collections
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
import sklearn.model_selection  # noqa: F401
import torch

import hadnas.search.evaluator
import hadnas.search.run
from hadnas import one_of, op, repeat
from hadnas.doctor import examine
from hadnas.opened import OpenStudy
from hadnas.retraining import retrain
from hadnas.search.finals import run_finals
from hadnas.search.mirror import restore
from hadnas.search.mirror.writer import Writer
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.store.database import close_engines
from hadnas.store.home import Home, optuna_storage
from hadnas.store.ledger import Ledger
from hadnas.store.study import Study
from hadnas.store.trials import Trials
from hadnas.store.worker import Claims
from hadnas.track import store
from hadnas.track.runs import Tracker
from hadnas.train.recipe import Recipe
from hadnas.train.score import Score
from tests.servers import installed_postgres, running_postgres

MORE = 6  # architectures of each round
LONGEST = 900.0  # seconds of the last run, without kills

OWNERS: list[tuple[Any, str]] = [
    (Trials, "add note note_run tell"),
    (Claims, "take check end"),
    (Ledger, "claim add_epoch place_weights finish"),
    (hadnas.search.evaluator, "save_weights evaluate"),
    (Score, "save"),
    (Tracker, "start_trial log_params log_metrics log_epoch log_text log_rows log_tags end_trial set_whole close"),
    (store, "make open_experiment"),
    (restore, "mirror_finals"),
    (hadnas.search.run, "open_mirror"),
    (Writer, "begin ended close"),
]
PHASES = [(owner, name, when) for owner, names in OWNERS for name in names.split() for when in ("before", "after")]


class Campaign:
    """One study in one home; `kills` are counted by what was killed."""

    def __init__(self, home: Path, url: str | None, seed: int) -> None:
        self.path, self.url, self.chance = home, url, random.Random(seed)
        self.kills = collections.Counter[str]()
        self.errors: list[str] = []
        self.lost: list[str] = []
        self.known: dict[int, tuple[str, list[float] | None]] = {}
        self.log = home / "workers.log"
        block = one_of(op("mlp"), op("depthwise"), op("se"), op("glu"))
        body = op("residual", norm="batchnorm2d", block=block, merge=one_of(op("add"), op("gated")))
        stage = {"dim": one_of(8, 12, 16, 20), "down": op("conv_norm"), "blocks": repeat(body, one_of(1, 2, 3))}
        stem, head = op("conv_norm", dim=8, stride=1), op("pooled_linear")
        space = op("pyramid", stem=stem, head=head, stages=[stage])
        recipe = Recipe(epochs=1, batch=64)
        how: dict[str, Any] = {"latency": None, "baselines": {"base": "test_resnet"}, "sampler": "tpe"}
        self.study = Study(name="mini", space=space, data=images(home), recipe=recipe, trials=MORE, **how)

    @property
    def home(self) -> Home:
        return Home(self.path, self.url)

    def search(self) -> None:
        run_study(self.study, self.home, device="cpu", watch=self._begun)

    def after(self) -> None:
        """Finals, an export of every trial, a retraining of the best."""
        self._begun(Progress("", 0, label="finals"))
        run_finals("mini", self.home, seeds=1, top=1, candidates=2, device="cpu")
        with closing((study := OpenStudy("mini", self.home)).ledger):
            for found in study.distinct[:4]:
                folder = self.path / "out" / found.name
                if not folder.exists():
                    study.export(found, folder)
            if not (self.path / "retrained").exists():
                arch = study.best.arch
                assert arch is not None
                retrain(arch, self.study.data, recipe=self.study.recipe).export(self.path / "retrained")

    def _begun(self, progress: Progress) -> None:
        if progress.label:
            (self.path / f"begun-{os.getpid()}").touch()

    def start(self, work: Callable[[], None], phase: tuple[Any, str, str] | None = None, nth: int = 1) -> int:
        """The process id of a worker."""
        if pid := os.fork():
            return pid
        status = 7
        try:
            file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1)
            os.dup2(file, 2)
            if phase is not None:
                arm(phase, nth)
            work()
            close_engines()
            status = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def round(self, work: Callable[[], None], workers: int, phases: bool, longest: float) -> None:
        """Start workers and kill them, the first one by a phase; then compare the finished trials.

        The budget of a search grows, so that there is always work.
        """
        if work == self.search:
            self.study = self.study.model_copy(update={"trials": len(self.known) + MORE})
        phase = self.chance.choice(PHASES) if phases else None
        first = self.start(work, phase, self.chance.choice((1, 1, 2, 3, 5)))
        pids = [first, *(self.start(work) for _ in range(workers - 1))]
        until = time.monotonic() + 60
        while time.monotonic() < until and not ended(first):
            if any((self.path / f"begun-{pid}").exists() for pid in pids):
                break
            time.sleep(0.01)
        until = time.monotonic() + (self.chance.uniform(0, longest) if phase is None else 3 * longest)
        while time.monotonic() < until and not ended(first):
            time.sleep(0.01)
        hit = ended(first)
        for pid in pids:
            if not ended(pid):
                os.kill(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code == -signal.SIGKILL:
                self.kills["random" if phase is None or pid != first or not hit else f"{phase[2]} {phase[1]}"] += 1
            elif code:
                self.errors.append(f"a worker ended with {code}")
        self.compare()

    def finish(self, work: Callable[[], None], workers: int) -> None:
        """The same command, without kills."""
        pids = [self.start(work) for _ in range(workers)]
        until = time.monotonic() + LONGEST
        for pid in pids:
            while not ended(pid):
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                    self.errors.append("the last run did not end")
                time.sleep(0.05)
            if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
                self.errors.append(f"the last run ended with {code}")
        self.compare()

    def compare(self) -> None:
        """Compare the finished trials with those of the round before."""
        now = {}
        if self.url is not None or (self.path / "hadnas.db").exists():
            try:
                book = optuna.load_study(study_name="mini", storage=optuna_storage(self.home))
                trials = book.get_trials(deepcopy=False, states=(COMPLETE, PRUNED))
                now = {trial.number: (trial.state.name, trial.values) for trial in trials}
            except KeyError:  # not begun
                pass
        self.lost += [f"trial {n}: {old} became {now.get(n)}" for n, old in self.known.items() if now.get(n) != old]
        self.known = now
        close_engines()  # none is open in a fork

    def faults(self, finals: bool) -> Iterator[str]:
        """What is wrong in the end."""
        yield from self.lost
        yield from self.errors
        study = OpenStudy("mini", self.home)
        with closing(study.ledger):
            if study.num_met != self.study.trials:
                yield f"{study.num_met} architectures, the budget is {self.study.trials}"
            firsts = collections.Counter(f.arch.fingerprint for f in study.found if f.arch and f.state == "complete")
            trainings = study.ledger.trainings(study="mini")
            doubled = collections.Counter(training.key for training in trainings)
            yield from (f"{key} is twice in the ledger" for key, count in doubled.items() if count > 1)
            if set(firsts) - {training.key.fingerprint for training in trainings if training.state == "complete"}:
                yield "a complete trial has no complete training"
            if any(trial.state.name in ("RUNNING", "FAIL") for trial in study.book.trials):
                yield "a ghost: a trial is running or failed"
            known, _ = store.known_runs(self.home.tracking_uri, self.home.artifacts, "mini")
            runs = [run for run in known if run.info.lifecycle_stage == "active"]
            ends = collections.Counter((run.info.run_name, run.info.status) for run in runs)
            for found in (*study.found, *study.baselines):
                good = [run for run in runs if run.info.run_id == found.run_id]
                if found.state == "complete" and ends[found.name, "FINISHED"] != 1:
                    yield f"{found.name} has {ends[found.name, 'FINISHED']} finished runs"
                if found.arch and not good:
                    yield f"{found.name} has no run"
                for run in good:
                    value = run.data.metrics.get("val/accuracy")
                    if found.state == "complete" and value != found.figures["val/accuracy"]:
                        yield f"{found.name}: its run has accuracy {value}"
            yield from (f"run {run.info.run_name} is open" for run in runs if run.info.status == "RUNNING")
            if finals:
                for folder in (*(self.path / "out").iterdir(), self.path / "retrained"):
                    if missing := {"model.py", "model.safetensors", "arch.json"} - {p.name for p in folder.iterdir()}:
                        yield f"{folder} lacks {sorted(missing)}"
                if study.ledger.trainings() and not study.book.user_attrs.get("finals"):
                    yield "there are no finals"
        yield from (f"{f.place}: {f.wrong}" for f in examine(self.home) if f.place != "files")


COMPLETE, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED


def images(folder: Path) -> str:
    """400 pictures of four classes."""
    chance = np.random.default_rng(0)
    pixels, labels = chance.integers(0, 256, (400, 8, 8, 1), dtype=np.uint8), np.arange(400) % 4
    pixels[labels == 1, :4] //= 2
    pixels[labels == 2, :, :4] //= 2
    pixels[labels == 3] //= 3
    np.savez(folder / "tiny.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    return str(folder / "tiny.npz")


def ended(pid: int) -> bool:
    """Whether a child has ended; it is not waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def arm(phase: tuple[Any, str, str], nth: int) -> None:
    """Kill this process before or after the nth call of a function."""
    owner, name, when = phase
    inner, calls = getattr(owner, name), 0

    def outer(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = inner(*args, **options)
        if calls == nth and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, outer)


def campaign(
    home: Path, *, kills: int, workers: int, phases: bool, after: bool, seed: int, url: str | None = None
) -> tuple[int, list[str], dict[str, int]]:
    """The number of kills, what was wrong in the end, and the kills by phase."""
    torch.set_num_threads(1)
    made = Campaign(home, url, seed)
    work = made.after if after else made.search
    if after:
        made.finish(made.search, workers)
    for _ in range(3 * kills):  # in some rounds a worker ends by itself
        if made.kills.total() < kills:
            made.round(work, workers, phases, 20.0 if after else 3.0)
    made.finish(work, workers)
    return made.kills.total(), list(made.faults(after)), dict(made.kills)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kills workers of a small study and counts what is wrong in the end.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phases", action="store_true")
    parser.add_argument("--after", action="store_true")
    parser.add_argument("--postgres", action="store_true", help="on a server that is started here, not on SQLite")
    home = Path(tempfile.mkdtemp(prefix="hadnas-kills-"))
    began = time.monotonic()
    asked = vars(parser.parse_args())
    with ExitStack() as servers:
        if asked.pop("postgres"):
            binaries = installed_postgres()
            assert binaries is not None, "PostgreSQL is not installed"
            asked["url"] = servers.enter_context(running_postgres(binaries)).url
        count, wrong, by = campaign(home, **asked)
        close_engines()
    print(f"{count} kills in {time.monotonic() - began:.0f} s, of which {by}; home {home}")
    print("\n".join(wrong) or "nothing lost, nothing doubled, no ghosts")
    sys.stdout.flush()
    os._exit(bool(wrong))


if __name__ == "__main__":
    main()
