"""A home that was moved: MLflow shows its studies again, with their files, and nothing twice."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

from hadnas.exporter.deliver import register_export
from hadnas.opened import open_study
from hadnas.results.report import write_report
from hadnas.search.mirror.restore import restore
from hadnas.search.run import run_study
from hadnas.store.home import Home
from hadnas.track import server
from tests.homes import new_home, study

NAMES = ["one", "two"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two studies, and a report of one."""
    home = new_home(tmp_path_factory.mktemp("before") / "home")
    for name in NAMES:
        run_study(study(name=name, trials=2), home, device="cpu")
    write_report(open_study("one", home.path))
    return home


def seen(home: Home, name: str) -> dict[str, Any]:
    """The runs of a study in MLflow: status, parameters, figures, and the text of every file."""
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name(f"hadnas/{name}")
    assert experiment is not None
    found = {}
    runs = client.search_runs([experiment.experiment_id])
    for run in runs:
        files = {}
        for item in client.list_artifacts(run.info.run_id):
            if not item.is_dir:
                files[item.path] = (Path(local_file_uri_to_path(run.info.artifact_uri)) / item.path).read_text()
        found[run.info.run_name] = (run.info.status, run.data.params, run.data.metrics, files)
    assert len(found) == len(runs)
    return found


def copied(home: Home, place: Path) -> Home:
    shutil.copytree(home.path, place)
    return Home(place)


def test_the_studies_of_a_copy_are_shown_as_before_and_the_first_is_left_alone(home: Home, tmp_path: Path) -> None:
    before = {name: seen(home, name) for name in NAMES}
    assert "report.html" in before["one"]["one"][3] and "model.py" in before["two"]["trial-0001"][3]
    copy = copied(home, tmp_path / "copy")
    for name in NAMES:
        restore(name, copy)
    assert {name: seen(copy, name) for name in NAMES} == before == {name: seen(home, name) for name in NAMES}
    ids = {path.name for name in NAMES for path in (copy.artifacts / name).iterdir()}
    assert len(ids) == 6 and not ids & {path.name for path in home.artifacts.glob("*/*")}
    restore("one", copy)
    assert ids == {path.name for name in NAMES for path in (copy.artifacts / name).iterdir()}
    run_study(study(name="two", trials=2), copy, device="cpu")
    assert seen(copy, "two") == before["two"]


def test_a_report_of_a_moved_home_does_not_hide_what_is_still_to_be_written(home: Home, tmp_path: Path) -> None:
    """Its experiment lies where it should, without the trials."""
    copy = copied(home, tmp_path / "copy")
    write_report(open_study("two", copy.path))
    assert list(seen(copy, "two")) == ["two"]
    restore("two", copy)
    assert set(seen(copy, "two")) == set(seen(home, "two")) and "report.html" in seen(copy, "two")["two"][3]


@pytest.mark.slow
def test_the_server_asks_for_every_study_that_was_moved(home: Home, tmp_path: Path) -> None:
    copy, asked = copied(home, tmp_path / "copy"), list[str]()

    def restored(name: str) -> None:
        asked.append(name)
        restore(name, copy)

    def ready(address: str) -> None:
        raise KeyboardInterrupt

    for place in (home, copy, copy):
        server.serve(place.tracking_uri, place.artifacts, "one", server.free_port(0), ready, restored)
    assert sorted(asked) == NAMES
    assert {name: seen(copy, name) for name in NAMES} == {name: seen(home, name) for name in NAMES}


@pytest.mark.slow
def test_a_model_of_a_moved_home_is_registered_with_the_run_there(
    home: Home, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    copy = copied(home, tmp_path / "copy")
    results = open_study("one", copy.path)
    folder = results.export(results.best, tmp_path / "out")
    before = {path.name for path in (home.artifacts / "one").iterdir()}
    assert register_export(results, results.best, folder) == "models:/hadnas-one/1"
    assert not [str(one.message) for one in recwarn if "mlflow" in one.filename]  # it would reach the console
    client = MlflowClient(copy.tracking_uri)
    version = client.get_model_version("hadnas-one", "1")
    assert client.get_run(version.run_id).info.artifact_uri.startswith(copy.artifacts.as_uri())
    assert before == {path.name for path in (home.artifacts / "one").iterdir()}
