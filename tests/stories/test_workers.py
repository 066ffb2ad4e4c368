"""Several processes at one study: nothing is trained twice, nothing is lost, the budget is met exactly, and all end."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hadnas.opened import open_study
from hadnas.results.table import StudyResults
from hadnas.store.home import Home
from hadnas.track.server import server

WORKER = """
import sys
from hadnas.search.run import run_study
from hadnas.store.home import Home
from tests.homes import study
print(run_study(study(trials=4, baselines={"net": "test_resnet"}), Home(*sys.argv[1:])).ended)
"""


@pytest.mark.slow
def test_two_workers_share_a_study(tmp_path: Path, url: str) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path), url]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [worker.communicate(timeout=600) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    home = Home(tmp_path, url)
    results = StudyResults("tiny", home)
    assert len(results.distinct) == 4 and [found.state for found in results.baselines] == ["complete"]
    trainings = results.ledger.trainings()
    results.ledger.close()
    assert len(trainings) == 5 and all((each.state, each.attempt) == ("complete", 1) for each in trainings)
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs if run.data.tags["hadnas.kind"] != "trial") == ["net", "tiny"]
    assert len(runs) == 2 + len(results.found)
    assert {run.info.status for run in runs if run.info.run_name != "tiny"} == {"FINISHED"}
    if url.startswith("sqlite"):
        with sqlite3.connect(tmp_path / "hadnas.db") as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def hadnas(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command as a process, which supervises further ones."""
    command = [sys.executable, "-m", "hadnas", *map(str, arguments)]
    path = str(Path(__file__).parents[2])  # the studies of these tests import `tests` from any folder
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)


TINY = """
import time

from tests.homes import study

STUDY = study(trials=6, baselines={"net": "test_resnet"})

def train(module, data, until, report):
    time.sleep(8)  # so that all workers have begun before one has done everything
"""


@pytest.mark.slow
def test_four_workers_of_a_supervisor_meet_the_budget_exactly(tmp_path: Path) -> None:
    file = tmp_path / "tiny.py"
    file.write_text(TINY)
    done = hadnas("search", file, "--home", tmp_path, "--workers", 4, "--evaluate", f"{file}:train")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the budget of 6 architectures is met; 0 draws were refused") == 1
    results = StudyResults("tiny", Home(tmp_path))
    trainings = results.ledger.trainings()
    assert len(results.distinct) == 6 and [found.state for found in results.baselines] == ["complete"]
    assert len(trainings) == 7 and all((each.state, each.attempt) == ("complete", 1) for each in trainings)
    assert len({each.worker for each in trainings}) > 1
    assert results.ledger.claims.activities("tiny") == []
    results.ledger.close()
    status = hadnas("status", "tiny", "--home", tmp_path)
    assert status.stdout == "tiny: 6 of 6 architectures, 0 draws refused\n"


@pytest.mark.slow
def test_candidates_that_abort_hang_or_exit_are_refused_with_the_reason(tmp_path: Path) -> None:
    bombs = Path(__file__).parents[1] / "bombs.py"
    done = hadnas("search", bombs, "--home", tmp_path, "--workers", 2, "--time-limit", "20s")
    assert done.returncode == 0, done.stderr
    assert "all 4 assignments of the space were met" in done.stdout
    results = StudyResults("bombs", Home(tmp_path))
    # A worker without anything new to draw draws a refused one again while another one hangs: it is not tried again.
    assert {str(found.reason) for found in results.refused} == {
        "2 workers died at it, the last one by SIGABRT",
        "SystemExit: 3",
        "it exceeded the time limit of 0:20 (--time-limit)",
    }
    assert all(trial.state.is_finished() for trial in results.book.trials)
    assert len(results.distinct) == 1 and results.ledger.claims.activities("bombs") == []
    results.ledger.close()


IMAGES = """
import numpy as np

from hadnas import Recipe
from tests.homes import study

rng = np.random.default_rng(0)
np.savez("images.npz", train_images=rng.integers(0, 255, (90, 8, 8)).astype("uint8"), train_labels=np.arange(90) % 3)
STUDY = study(trials=2, baselines={}, data="images.npz", recipe=Recipe(epochs=1, batch=16))
"""


@pytest.mark.slow
def test_a_worker_needs_the_name_and_the_database_and_weights_come_from_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines, here two folders and two homes, with one database and one MLflow server."""
    (tmp_path / "study.py").write_text(IMAGES)
    for name in ("one", "two", "mlflow"):
        (tmp_path / name).mkdir()
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    with server(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}", tmp_path / "mlflow" / "files", 5123) as (_, port):
        monkeypatch.setenv("HADNAS_STORAGE", database)
        monkeypatch.setenv("HADNAS_TRACKING", f"http://127.0.0.1:{port}")
        monkeypatch.chdir(tmp_path / "one")
        done = hadnas("search", "../study.py", "--trials", 1)
        assert done.returncode == 0, done.stderr
        monkeypatch.chdir(tmp_path / "two")
        missing = hadnas("work", "tiny")
        assert missing.returncode == 2 and missing.stderr.count("error: ") == 1 and "images.npz" in missing.stderr
        home = Home(tmp_path / "two" / "runs")
        results = open_study("tiny", home.path)
        weights = results.weights(results.best)
        assert weights.is_relative_to(home.path) and results.network(results.best) is not None
        assert results.study.trials == 1 and len(results.found) == 1
        results.ledger.close()
        monkeypatch.chdir(tmp_path / "one")
        assert hadnas("search", "../study.py", "--timeout", "0.001s").returncode == 0  # the budget is two now
        (tmp_path / "two" / "images.npz").symlink_to(tmp_path / "one" / "images.npz")
        monkeypatch.chdir(tmp_path / "two")
        done = hadnas("work", "tiny")
        assert done.returncode == 0 and "the budget of 2 architectures is met" in done.stdout, done.stderr
