"""`hadnas doctor` names each fault of a home with what mends it, and `hadnas sync` mends those of MLflow."""

import sqlite3
import tarfile
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hadnas.store.home import Home
from tests.kept.make import KEPT
from tests.shell import hadnas


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that was moved: it was made elsewhere."""
    with tarfile.open(max(KEPT.glob("home-*.tar.xz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    return Home(tmp_path)


def doctor(home: Home) -> tuple[int, str]:
    done = hadnas("doctor", "--home", home.path)
    return done.exit_code, done.output


def weights(home: Home) -> list[Path]:
    return [path for path in sorted(home.path.glob("tiny/weights/*")) if ".val" not in path.name]


def change(home: Home, statement: str) -> None:
    with sqlite3.connect(home.path / "hadnas.db") as database:
        assert database.execute(statement).rowcount > 0


def test_each_fault_of_files_and_ledger_is_named_with_its_mend(home: Home) -> None:
    changed, missing, other, _ = weights(home)
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    missing.unlink()
    (home.path / "tiny" / "weights" / "left.safetensors.part").touch()
    other.with_suffix(".test-noise-0.1.safetensors").touch()  # of a training that the ledger names, so no fault
    change(home, f"update hadnas_training set state = 'running', holder = 'gone' where weights like '%{other.name}'")
    change(home, "insert into hadnas_item (study, item, holder, attempt) values ('tiny', 'draw 9', 'gone', 1)")
    status, said = doctor(home)
    assert status == 1 and ".test-noise" not in said
    for fact in (f"{changed} have changed", f"{missing} are missing", "left.safetensors.part", "draw 9 was left"):
        assert fact in said
    for fact in ("training of", "mend: hadnas search tiny", "the ledger has no finished training"):
        assert fact in said


def test_a_figure_that_differs_from_the_ledger_is_named(home: Home) -> None:
    change(home, """update hadnas_training set metrics = '{"accuracy": 0.5}' where state = 'complete'""")
    status, said = doctor(home)
    assert status == 1 and "has val/accuracy 0." in said and "in the ledger 0.5" in said


def test_a_damaged_database_is_named_and_left_as_it_is(home: Home) -> None:
    path = home.path / "hadnas.db"
    data = bytearray(path.read_bytes())
    data[4096 * 8 : 4096 * 20] = b"x" * 4096 * 12
    path.write_bytes(data)
    status, said = doctor(home)
    assert status == 1 and str(path) in said and "damaged" in said and "from a copy" in said
    assert path.read_bytes() == bytes(data)


def test_sync_writes_what_mlflow_lacks_and_a_second_time_nothing(home: Home) -> None:
    """Of a moved home a new experiment; then a run that was deleted, one written in part, and one left open."""
    status, said = doctor(home)
    assert status == 1 and said.count("mend:") == 1 and "moved" in said and "hadnas sync tiny" in said
    first = hadnas("sync", "tiny", "--home", home.path)
    assert first.exit_code == 0 and "4 runs written" in first.output
    assert doctor(home) == (0, f"{home.path}: no faults\n")
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/tiny")
    assert experiment is not None
    runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment.experiment_id])}
    client.delete_run(runs["trial-0000"])
    for name in ("trial-0001", "tiny"):
        client.update_run(runs[name], status="RUNNING")
    stray = client.create_run(experiment.experiment_id, run_name="stray", tags={"hadnas.kind": "trial"})
    status, said = doctor(home)
    assert status == 1 and "MLflow lacks 1 candidates: trial-0001" in said and "mend: hadnas sync tiny" in said
    second = hadnas("sync", "tiny", "--home", home.path)
    assert "1 runs written, 1 runs restored, 1 runs closed" in second.output
    assert doctor(home)[0] == 0 and client.get_run(stray.info.run_id).info.status == "KILLED"
    third = hadnas("sync", "tiny", "--home", home.path)
    assert "0 runs written, 0 runs restored, 0 runs closed" in third.output
    ends = sorted((run.info.run_name, run.info.status) for run in client.search_runs([experiment.experiment_id]))
    trials = [(f"trial-000{number}", "FINISHED") for number in range(3)]
    assert ends == [("net", "FINISHED"), ("stray", "KILLED"), ("tiny", "KILLED"), *trials]
