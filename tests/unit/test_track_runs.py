"""The tracker against a real SQLite store: what MLflow holds after each call."""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Run

from hadnas.errors import StudyError
from hadnas.inputs import Tokens
from hadnas.track import parent, runs
from hadnas.track.failure import store_errors
from hadnas.track.names import mlflow_name, without_password
from hadnas.track.runs import Tracker

DEPTH = {"stages.0.depth": 2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the module (its tables take seconds to make); a folder with a space, as people have."""
    return tmp_path_factory.mktemp("a home")


def uri(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


def tracker(home: Path, study: str) -> Tracker:
    return Tracker(uri(home), home / "artifacts", study)


def seen(home: Path, run_id: str) -> Run:
    """A run as another client sees it."""
    return MlflowClient(uri(home)).get_run(run_id)


def test_a_trial_is_visible_with_its_curve_while_it_trains(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "EVERY", 0.0)
    study = tracker(home, "live")
    run_id = study.start_trial(3, "trial", "trial-0003", DEPTH, {"hadnas.fingerprint": "ab12"}, note="the tree")
    for epoch in (1, 2, 3):
        study.log_epoch(run_id, epoch, {"val/accuracy": epoch / 10, "val/loss": 2.0, "train/loss": math.nan})
        run = seen(home, run_id)
        assert run.info.status == "RUNNING"
        assert run.data.metrics["val/accuracy"] == epoch / 10
    assert run.data.params == {"stages.0.depth": "2"}
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == study.parent_run_id
    assert tags["hadnas.kind"] == "trial" and tags["optuna.trial"] == "3" and tags["hadnas.fingerprint"] == "ab12"
    assert tags["mlflow.runName"] == "trial-0003" and tags["mlflow.note.content"] == "the tree"
    curve = MlflowClient(uri(home)).get_metric_history(run_id, "val/accuracy")
    assert [(point.step, point.value) for point in curve] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert math.isnan(run.data.metrics["train/loss"])


def test_points_of_short_epochs_are_written_together_and_none_is_lost(home: Path) -> None:
    study = tracker(home, "short")
    run_id = study.start_trial(0, "trial", "trial-0000", {}, {})
    for epoch in range(1, 6):
        study.log_epoch(run_id, epoch, {"val/accuracy": epoch / 10})
    assert seen(home, run_id).data.metrics["val/accuracy"] == 0.1  # the first at once
    study.end_trial(run_id, "KILLED", "interrupted")
    curve = MlflowClient(uri(home)).get_metric_history(run_id, "val/accuracy")
    assert [(point.step, point.value) for point in curve] == [(epoch, epoch / 10) for epoch in range(1, 6)]


def test_a_store_that_breaks_is_named(home: Path, tmp_path: Path) -> None:
    tracker(home, "whole")  # makes the tables
    shutil.copyfile(home / "mlflow.db", tmp_path / "mlflow.db")
    study = tracker(tmp_path, "breaks")
    run_id = study.start_trial(0, "trial", "trial-0000", {}, {})
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        store.execute("drop table metrics")
    said = r"mlflow.db: .*\(no such table: metrics\)"
    with pytest.raises(StudyError, match=said), store_errors(uri(tmp_path)):
        study.log_metrics(run_id, {"macs": 1.0})


def test_end_states_carry_their_reason(home: Path) -> None:
    study = tracker(home, "ends")
    kept = study.start_trial(0, "trial", "trial-0000", {}, {})
    refused = study.start_trial(1, "trial", "trial-0001", {}, {}, note="the tree")
    broken = study.start_trial(None, "baseline", "resnet18", {}, {})
    study.end_trial(kept, "FINISHED")
    study.end_trial(refused, "KILLED", "macs 12 M > 10 M")
    study.end_trial(broken, "FAILED", "out of memory")
    assert seen(home, kept).info.status == "FINISHED"
    assert "hadnas.reason" not in seen(home, kept).data.tags
    assert seen(home, refused).info.status == "KILLED"
    assert seen(home, refused).data.tags["hadnas.reason"] == "macs 12 M > 10 M"
    assert seen(home, refused).data.tags["mlflow.note.content"] == "**killed**: macs 12 M \\> 10 M\n\nthe tree"
    assert seen(home, broken).info.status == "FAILED"
    assert "optuna.trial" not in seen(home, broken).data.tags


def test_a_study_opened_again_finds_its_experiment_and_parent(home: Path) -> None:
    first = tracker(home, "again")
    first.close("KILLED")
    assert seen(home, first.parent_run_id).info.status == "KILLED"
    second = tracker(home, "again")
    other = tracker(home, "another")
    assert (second.experiment_id, second.parent_run_id) == (first.experiment_id, first.parent_run_id)
    assert other.experiment_id != first.experiment_id
    assert seen(home, first.parent_run_id).info.status == "RUNNING"
    experiment = MlflowClient(uri(home)).get_experiment(first.experiment_id)
    assert experiment.name == "hadnas/again"
    assert experiment.artifact_location == (home / "artifacts" / "again").resolve().as_uri()


def test_an_experiment_deleted_in_the_ui_comes_back(home: Path) -> None:
    first = tracker(home, "deleted")
    first.client.delete_experiment(first.experiment_id)
    second = tracker(home, "deleted")
    assert second.experiment_id == first.experiment_id
    assert seen(home, second.parent_run_id).info.lifecycle_stage == "active"


@pytest.mark.slow
def test_runs_of_a_dead_process_are_closed_and_living_ones_kept(home: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from hadnas.track.runs import Tracker\n"
        "t = Tracker(sys.argv[1], Path(sys.argv[2]), 'stale')\n"
        "print(t.start_trial(0, 'trial', 'trial-0000', {}, {}, note='the tree'), flush=True)\n"
        "print(t.start_trial(1, 'trial', 'trial-0001', {}, {}), flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    dead = subprocess.run(
        [sys.executable, "-c", script, uri(home), home / "artifacts"], capture_output=True, text=True, check=False
    )
    assert dead.returncode == -9
    assert dead.stderr == ""
    lost, elsewhere = dead.stdout.split()
    study = tracker(home, "stale")
    mine = study.start_trial(2, "trial", "trial-0002", {}, {})
    stale = {run.info.run_id: run for run in study.runs("RUNNING")}
    assert set(stale) == {lost, elsewhere}
    study.end_stale(stale[lost])
    assert seen(home, lost).info.status == "KILLED"
    assert seen(home, lost).data.tags["hadnas.reason"] == "interrupted"
    assert seen(home, lost).data.tags["mlflow.note.content"] == "**killed**: interrupted\n\nthe tree"
    assert seen(home, elsewhere).info.status == "RUNNING"
    assert seen(home, mine).info.status == "RUNNING"
    assert seen(home, study.parent_run_id).info.status == "RUNNING"
    study.end_trial(elsewhere, "FINISHED")
    assert study.runs("RUNNING") == []


def test_what_the_parent_run_has_may_be_written_again_by_another_worker(home: Path) -> None:
    study, other = tracker(home, "parent"), tracker(home, "parent")
    assert parent.last_point(study) == -1
    parent.log_settings(study, {"epochs": 3, "sampler.prior#": 1.0}, {"trials": 20})
    parent.log_points(study, [(1000, 1, {"search/front_size": 1}), (2000, 2, {"search/front_size": 2})])
    parent.log_settings(other, {"epochs": 4, "sampler.prior#": 1.0, "rungs": "none"}, {"trials": 30})
    parent.log_points(other, [(3000, 3, {"search/front_size": 1, "search/hypervolume": 0.5})])
    parent.describe_parent(other, "the front")
    run = seen(home, study.parent_run_id)
    assert run.data.params == {"epochs": "3", "sampler.prior-": "1.0", "rungs": "none"}
    assert run.data.tags["hadnas.trials"] == "30" and run.data.tags["mlflow.note.content"] == "the front"
    curve = MlflowClient(uri(home)).get_metric_history(study.parent_run_id, "search/front_size")
    assert [(point.timestamp, point.step, point.value) for point in curve] == [(1000, 1, 1), (2000, 2, 2), (3000, 3, 1)]
    assert parent.last_point(study) == 3000


def test_runs_change_their_colour_but_those_deleted_in_the_ui(home: Path) -> None:
    study = tracker(home, "colours")
    first, second, third = (study.start_trial(n, "trial", f"trial-{n}", {}, {}) for n in range(3))
    study.client.delete_run(third)
    parent.recolour(study, "#0072B2", [first, third], "#56B4E9")
    assert seen(home, first).data.tags["mlflow.runColor"] == "#0072B2"
    assert all("mlflow.runColor" not in seen(home, run_id).data.tags for run_id in (second, third))
    parent.recolour(study, "#0072B2", [second, third], "#56B4E9")
    assert [seen(home, run_id).data.tags["mlflow.runColor"] for run_id in (first, second)] == ["#56B4E9", "#0072B2"]


def test_images_are_a_dataset_for_each_split_stored_once(home: Path) -> None:
    study = tracker(home, "images")
    shapes, sizes = (("image", (3, 32, 32)),), {"training": "1,150", "validation": "288"}
    images = parent.ImageData("flowers", "ab12", "/data/flowers", shapes, "labels", 5, sizes)
    for number in range(2):
        run_id = study.start_trial(number, "trial", f"trial-{number}", {}, {})
        study.log_inputs(run_id, images.inputs)
        inputs = seen(home, run_id).inputs.dataset_inputs
        assert [one.dataset.name for one in inputs] == ["flowers (training)", "flowers (validation)"]
        assert [(one.tags[0].key, one.tags[0].value) for one in inputs] == [
            ("mlflow.data.context", "training"),
            ("mlflow.data.context", "validation"),
        ]
        train = inputs[0].dataset
        assert train.digest == "ab12" and json.loads(train.source) == {"uri": "/data/flowers"}
        schema = TensorDatasetSchema.from_dict(json.loads(train.schema))
        assert schema.features.inputs[0].shape == (-1, 3, 32, 32) and schema.targets.inputs[0].shape == (-1, 5)
    with closing(sqlite3.connect(home / "mlflow.db")) as store:
        assert store.execute("select count(*) from datasets where name like 'flowers%'").fetchone() == (2,)


def test_a_dataset_of_two_inputs_has_their_names_and_types(home: Path) -> None:
    study = tracker(home, "questions")
    shapes = (("image", (3, 8, 8)), ("question", Tokens(5, 11)))
    run_id = study.start_trial(0, "trial", "trial-0", {}, {})
    study.log_inputs(run_id, parent.ImageData("q", "cd34", "q.npz", shapes, "classes", 2, {"training": "9"}).inputs)
    (found,) = seen(home, run_id).inputs.dataset_inputs
    inputs = TensorDatasetSchema.from_dict(json.loads(found.dataset.schema)).features.inputs
    assert [(one.name, str(one.type), one.shape) for one in inputs] == [
        ("image", "float32", (-1, 3, 8, 8)),
        ("question", "int64", (-1, 5)),
    ]


def test_limits_of_the_store_are_kept(home: Path) -> None:
    study = tracker(home, "limits")
    name = "stages.1.blocks.0.block#2.star.expand"
    params: dict[str, object] = {f"p{i}": i for i in range(250)} | {name: 4, "long": "x" * 7000, "d" * 300: True}
    run_id = study.start_trial(0, "trial", "trial-0000", params, {"t": "y" * 9000, "a/b": None})
    study.log_tags(run_id, {f"t{i}": i for i in range(150)})
    study.end_trial(run_id, "KILLED", "z" * 9000)
    run = seen(home, run_id)
    assert len(run.data.params) == 253
    assert run.data.params["stages.1.blocks.0.block-2.star.expand"] == "4"
    assert run.data.params["long"] == "x" * 5999 + "…"
    assert run.data.params["d" * 250] == "True"
    assert run.data.tags["t"] == "y" * 7999 + "…" and run.data.tags["a/b"] == "None"
    assert run.data.tags["t149"] == "149"


def test_files_of_a_run(home: Path) -> None:
    study = tracker(home, "files")
    run_id = study.start_trial(0, "trial", "trial-0000", {}, {})
    study.log_text(run_id, "class Model: ...", "code/model.py")
    folder = home / "artifacts" / "files" / run_id / "artifacts"
    assert (folder / "code" / "model.py").read_text() == "class Model: ..."
    assert study.client.list_artifacts(run_id, "code")[0].path == "code/model.py"
    (folder / "taken").write_text("")
    with pytest.raises(StudyError, match="MLflow cannot use it"):
        study.log_text(run_id, "class Model: ...", "taken/model.py")


def test_a_store_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a database")
    for bad in (f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", str(tmp_path / "mlruns")):
        with pytest.raises(StudyError, match=r"study 'bad': .* allowed: a database"):
            Tracker(bad, tmp_path / "artifacts", "bad")
    with pytest.raises(StudyError, match=r"with files in .*file/artifacts"):
        Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "file" / "artifacts", "bad")


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("val/accuracy", "val/accuracy"), ("a#b@c", "a-b-c"), ("../up", "up"), ("a//b/", "a/b"), ("x" * 300, "x" * 250)],
)
def test_names_as_mlflow_allows_them(name: str, allowed: str) -> None:
    assert mlflow_name(name) == allowed


def test_no_password_in_messages() -> None:
    assert without_password("postgresql://me:se:cr@t@host:5432/runs") == "postgresql://me:***@host:5432/runs"
    assert without_password("sqlite:////home/mlflow.db") == "sqlite:////home/mlflow.db"


def test_nothing_is_sent_home() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
