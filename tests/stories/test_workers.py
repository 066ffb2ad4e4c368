"""Two processes at one study at the same time: nothing is trained twice, nothing is lost, and both end."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hadnas.results.table import StudyResults
from hadnas.store.home import Home

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
