"""A study that is stopped and goes on, or loses a trial to another worker, and studies that share a ledger."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest

from hadnas.errors import Interrupted
from hadnas.opened import open_study
from hadnas.samplers.draw import draw_from
from hadnas.samplers.sampler import make_sampler
from hadnas.search.mirror.live import Live
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.search.status import StudyStatus, status
from hadnas.space import one_of, op
from hadnas.store.health.check import left_items
from hadnas.store.home import Home, optuna_storage
from hadnas.store.ledger import Ledger
from hadnas.store.trials import Trials, draw_of
from hadnas.track.runs import Tracker
from tests.homes import new_home, study
from tests.networks import TINY_SPACE, pyramid, residual
from tests.shell import hadnas


def test_same_seed_same_trials_also_when_stopped_and_resumed(tmp_path: Path) -> None:
    through, stopped = new_home(tmp_path / "through"), new_home(tmp_path / "stopped")
    run_study(study(trials=4), through)
    calls = 0

    def interrupt(progress: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:  # in the second candidate's training
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="'tiny'"):
        run_study(study(trials=4), stopped, watch=interrupt)
    run_study(study(trials=4), stopped)
    found = [open_study("tiny", home.path).found for home in (through, stopped)]
    told = [[(trial.state, trial.params, trial.figures) for trial in trials] for trials in found]
    assert told[0] == told[1]
    client = mlflow.MlflowClient(stopped.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/tiny")
    assert experiment is not None
    states = [run.info.status for run in client.search_runs([experiment.experiment_id])]
    assert states.count("KILLED") == 1 and "RUNNING" not in states


def test_a_trial_that_another_worker_took_over_is_told_once(tmp_path: Path) -> None:
    """As of one whose machine slept for two minutes; what was trained is not trained again."""
    home = new_home(tmp_path)

    def sleep(progress: Progress) -> None:
        if (progress.label, progress.phase, progress.epoch) == ("trial 0", "train", 1) and not taken:
            other = Ledger(home.url, stale=-1.0)  # for which every heartbeat is long ago
            held = other.claims.take("tiny", ["draw 0"])
            assert held is not None
            other.claims.give_back(held)
            other.close()
            taken.append(held.attempt)

    taken: list[int] = []
    assert run_study(study(trials=2), home, watch=sleep).done == 2 and taken == [2]
    results = open_study("tiny", tmp_path)
    assert [found.number for found in results.found] == [0, 1]
    assert [found.notes["reused"] for found in results.found] == [True, False]
    assert len(results.ledger.trainings()) == 2
    assert _states(home) == [("trial-0000", "FINISHED"), ("trial-0000", "KILLED"), ("trial-0001", "FINISHED")]


def test_a_worker_leaves_the_last_of_the_budget_to_one_that_is_at_it(tmp_path: Path) -> None:
    """`hadnas status` names both; the second has nothing to do."""
    home = new_home(tmp_path)
    told: list[Progress] = []
    seen: list[tuple[StudyStatus, str]] = []

    def join(progress: Progress) -> None:
        if (progress.label, progress.phase, progress.epoch) == ("trial 0", "train", 1):
            seen.append((status("tiny", home), hadnas("status", "tiny", "--home", tmp_path).output))
            told.append(run_study(study(trials=1), home))

    assert run_study(study(trials=1), home, watch=join).done == 1
    (now, text), (found,) = seen[0], seen[0][0].at_work.items()
    assert (now.done, now.trials, now.workers, now.left) == (0, 1, 1, None)
    assert (found[0], found[1].pid, found[1].epoch) == ("trial 0", os.getpid(), 1)
    assert "0 of 1 architectures" in text and "trial 0  train, 1 of 1 epochs done" in text and str(os.getpid()) in text
    assert hadnas("status", "tiny", "--home", tmp_path).output == "tiny: 1 of 1 architectures, 0 draws refused\n"
    assert told[0].done == 0 and told[0].ended == "other workers evaluate the rest"
    results = open_study("tiny", tmp_path)
    assert [found.number for found in results.found] == [0]
    assert [trial.state.name for trial in results.book.trials] == ["COMPLETE"]


HOLD = """
import sys, time
from hadnas.store.ledger import Ledger
print(Ledger(sys.argv[1]).claims.take("tiny", [sys.argv[2]]).attempt, flush=True)
time.sleep(600)
"""


def die_at(home: Home, item: str) -> None:
    """A worker takes an item of the study and is killed."""
    with subprocess.Popen([sys.executable, "-c", HOLD, home.url, item], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None and worker.stdout.readline()
        worker.kill()


@pytest.mark.parametrize("end", ["RUNNING", "FINISHED"])
def test_a_worker_that_lives_goes_on_with_the_trial_of_a_dead_one(tmp_path: Path, end: str) -> None:
    """With its number and its parameters; its run is closed, also where the dead one had just finished it."""
    home = new_home(tmp_path)

    def die(progress: Progress) -> None:
        if (progress.label, progress.phase, progress.epoch) == ("trial 0", "train", 0):
            die_at(home, "draw 1")
            storage = optuna_storage(home)
            trials = Trials(optuna.load_study(study_name="tiny", storage=storage), storage)
            drawn = draw_from(TINY_SPACE, make_sampler("random", 7)(1), ["maximize", "minimize"], [])
            added = trials.add(1, drawn.answers, drawn.distributions, drawn.kept)
            tracker = Tracker(home.tracking_uri, home.artifacts, "tiny")
            trials.note(added.number, run_id=tracker.start_trial(added.number, "trial", "trial-0001", {}, {}))
            if end == "FINISHED":
                tracker.end_trial(trials.all()[1].user_attrs["run_id"], "FINISHED")
            chosen.append(added.params)

    chosen: list[dict[str, object]] = []
    assert run_study(study(trials=3), home, watch=die).done == 3
    results = open_study("tiny", tmp_path)
    assert [trial.state.name for trial in results.book.trials] == ["COMPLETE"] * 3
    assert results.book.trials[1].params == chosen[0]
    assert [found.number for found in results.found] == [0, 1, 2]
    runs = [
        ("trial-0000", "FINISHED"),
        ("trial-0001", "FINISHED"),
        ("trial-0001", "KILLED"),
        ("trial-0002", "FINISHED"),
    ]
    assert _states(home) == runs


def test_a_draw_whose_worker_died_before_there_was_a_trial_is_drawn(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    Ledger(home.url).close()
    die_at(home, "draw 0")
    assert run_study(study(trials=2), home).done == 2
    assert [found.number for found in open_study("tiny", tmp_path).found] == [0, 1]


def test_a_candidate_at_which_two_workers_died_is_refused_with_the_reason(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    Ledger(home.url).close()
    for item in ("draw 0", "draw 0", "baseline net", "baseline net"):
        die_at(home, item)
    assert run_study(study(trials=2, baselines={"net": "test_resnet"}), home).done == 2
    results = open_study("tiny", tmp_path)
    assert [found.state for found in results.found] == ["pruned", "complete", "complete"]
    said = "2 workers died at it (a crash, an abort, out of memory or a kill)"
    assert results.found[0].reason == said and results.baselines[0].reason == said


def test_an_item_whose_worker_died_when_its_trial_had_ended_is_removed(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    run_study(study(trials=1), home)
    die_at(home, "draw 0")
    ledger = Ledger(home.url)
    assert left_items(ledger) == [("tiny", "draw 0")]
    run_study(study(trials=1), home)
    assert left_items(ledger) == []
    ledger.close()


def test_an_interrupt_before_a_run_is_open_is_no_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = new_home(tmp_path)

    def stop(*args: Any, **options: Any) -> str:
        raise KeyboardInterrupt

    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(Live, "start", stop)
            run_study(study(trials=1), home)
    assert run_study(study(trials=1), home).done == 1
    assert [found.state for found in open_study("tiny", tmp_path).found] == ["complete"]


def test_what_an_earlier_version_left_running_is_failed_and_its_draw_taken_up(tmp_path: Path) -> None:
    """A trial that was made and not yet marked by its worker, a ghost, ended a study one short for ever."""
    home = new_home(tmp_path)
    run_study(study(trials=1), home)
    optuna.load_study(study_name="tiny", storage=home.url).ask()
    assert run_study(study(trials=2), home).done == 2
    results = open_study("tiny", tmp_path)
    assert [trial.state.name for trial in results.book.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert [draw_of(trial) for trial in results.book.trials if trial.state.name == "COMPLETE"] == [0, 1]


def test_a_training_that_another_worker_took_over_is_waited_for(tmp_path: Path) -> None:
    """Or, where it is interrupted at the same time, left."""
    home = new_home(tmp_path)

    def sleep(progress: Progress) -> None:
        if (progress.phase, progress.epoch) == ("train", 1) and not taken:
            other = Ledger(home.url, stale=-1.0)  # for which every heartbeat is long ago
            (training,) = other.trainings()
            taken.append(other.claim(training.key, "another").status)
            other.release(other.claim(training.key, "another"))
            other.close()
            if interrupted:
                raise KeyboardInterrupt

    for interrupted in (True, False):
        taken: list[str] = []
        if interrupted:
            with pytest.raises(Interrupted):
                run_study(study(trials=1), home, watch=sleep)
        else:
            assert run_study(study(trials=1), home, watch=sleep).done == 1 and taken == ["mine"]
    (training,) = open_study("tiny", tmp_path).ledger.trainings()
    assert (training.state, training.attempt) == ("complete", 7)


@pytest.mark.slow
def test_three_hundred_trials_on_a_small_space_train_each_architecture_once(tmp_path: Path) -> None:
    """Studies of one home share the ledger; each ends by itself, the exhaustive one when the space is exhausted."""
    blocks = [residual(one_of(*(op(name) for name in ("star", "mlp", "conv_next", "basic"))))]
    space = pyramid((one_of(4, 6, 8), blocks), (8, blocks))
    home = new_home(tmp_path)
    ended = []
    for number, sampler in enumerate(["exhaustive", "random", "tpe"]):
        changes = {"name": f"s{number}", "space": space, "sampler": sampler, "seed": 0, "trials": 300}
        ended.append(run_study(study(**changes), home).ended)
    assert ended[0] == "all 48 assignments of the space were met"
    assert all("assignments" in end or "no new architecture" in end for end in ended)
    found = [each for number in range(3) for each in open_study(f"s{number}", home.path).found]
    ledger = Ledger(home.url)
    trainings = ledger.trainings()
    ledger.close()
    assert len(found) >= 300
    assert len(trainings) == len({training.key.fingerprint for training in trainings}) == 48
    assert all(training.attempt == 1 for training in trainings)
    assert sum(not each.notes["reused"] for each in found) == 48


def _states(home: Home) -> list[tuple[str, str]]:
    """The trials' runs: names and ends."""
    client = mlflow.MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`hadnas.kind` = 'trial'")
    return sorted((str(run.info.run_name), run.info.status) for run in runs)
