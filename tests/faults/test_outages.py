"""Servers that stop and start during a study: nothing is lost, nothing is doubled, and nothing waits without need."""

import logging
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hadnas.doctor import examine
from hadnas.errors import StudyError
from hadnas.opened import open_study
from hadnas.results.table import StudyResults
from hadnas.search.mirror.restore import restore
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.store.database import close_engines
from hadnas.store.home import Home
from hadnas.track import server
from tests.homes import new_home, study
from tests.servers import installed_postgres, running_postgres


def ends(home: Home) -> list[tuple[str, str]]:
    """Names and states of the runs of the study."""
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/tiny")
    assert experiment is not None
    return sorted((run.info.run_name, run.info.status) for run in client.search_runs([experiment.experiment_id]))


def check_whole(home: Home, architectures: int) -> None:
    """All are there once, in the database and in MLflow, and nothing is wrong with the home."""
    with closing((results := StudyResults("tiny", home)).ledger):
        assert results.num_met == architectures and all(trial.state.is_finished() for trial in results.book.trials)
        trained = [training.key for training in results.ledger.trainings()]
        assert len(trained) == len(set(trained)) == architectures
        names = [found.name for found in results.found]
    assert [name for name, end in ends(home) if name != "tiny" and end == "FINISHED"] == names
    assert list(examine(home)) == []


@pytest.mark.faults
@pytest.mark.slow
def test_a_tracking_server_that_stops_and_starts_delays_nothing_and_lacks_nothing_in_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = new_home(tmp_path)
    port = server.free_port(0)
    began: dict[str, float] = {}
    with ExitStack() as running:
        running.enter_context(server.server(home.tracking_uri, home.artifacts, port))
        away = Home(tmp_path, tracking=f"http://127.0.0.1:{port}")

        def watch(progress: Progress) -> None:
            if progress.label not in began:
                began[progress.label] = time.monotonic()
                if progress.label == "trial 1":
                    running.close()
                if progress.label == "trial 4":
                    running.enter_context(server.server(home.tracking_uri, home.artifacts, port))

        with caplog.at_level(logging.WARNING):
            assert run_study(study(trials=6), away, device="cpu", watch=watch).done == 6
        assert sum("MLflow cannot be used" in record.message for record in caplog.records) == 1
        assert began["trial 3"] - began["trial 2"] < 10  # without the server; MLflow alone tries for minutes
        check_whole(away, 6)  # by the server, which has the files
        assert restore("tiny", away, undelete=True).written == frozenset()


def test_a_study_without_its_tracking_server_ends_and_is_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = new_home(tmp_path)
    away = Home(tmp_path, tracking=f"http://127.0.0.1:{server.free_port(0)}")
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert run_study(study(trials=2), away, device="cpu").done == 2
    assert time.monotonic() - began < 60
    (said,) = [record.message for record in caplog.records if "MLflow cannot be used" in record.message]
    assert "`hadnas sync tiny`" in said and "Connection refused" in said
    assert any("MLflow lacks 2" in fault.wrong for fault in examine(home))
    mirror = restore("tiny", home, undelete=True)
    assert mirror.written == {"trial-0000", "trial-0001"} and list(examine(home)) == []
    assert restore("tiny", home, undelete=True).written == frozenset()
    check_whole(home, 2)


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_database_server_that_stops_and_starts_is_waited_for(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With MLflow's tables on the same server; `immediate` ends it as a crash does."""
    binaries = installed_postgres()
    if binaries is None:
        pytest.fail("no PostgreSQL: install the server's binaries")
    with running_postgres(binaries) as postgres:
        home = Home(tmp_path, postgres.url)
        labels: list[str] = []

        def watch(progress: Progress) -> None:
            if progress.label and progress.label not in labels:
                labels.append(progress.label)
                if progress.label in ("trial 1", "trial 3"):
                    postgres.stop(mode)
                    threading.Timer(2.0, postgres.start).start()

        with caplog.at_level(logging.WARNING):
            assert run_study(study(trials=5), home, device="cpu", watch=watch).done == 5
        assert any("does not answer" in record.message for record in caplog.records)
        check_whole(home, 5)
        close_engines()


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_search_as_ctrl_c_does(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "hadnas", "search", "digits", "--home", str(tmp_path), "--no-baselines"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as search:
        assert search.stderr is not None
        for line in search.stderr:
            if "now trial 0" in line:
                break
        search.send_signal(getattr(signal, name))
        _, said = search.communicate(timeout=120)
    assert search.returncode == 130 and "same command continues" in said
    home = Home(tmp_path)
    assert [fault for fault in examine(home)] == []
    with closing((results := open_study("digits", tmp_path)).ledger):
        assert [trial.state.name for trial in results.book.trials] == ["RUNNING"]


@pytest.mark.faults
@pytest.mark.slow
def test_two_searches_at_once_on_a_fresh_home_share_the_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hadnas", "search", "digits", "--home", str(tmp_path), "--no-baselines"]
    command += ["--trials", "4", "--epochs", "1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate(timeout=600) for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    with closing((results := open_study("digits", tmp_path)).ledger):
        assert results.num_met == 4 and [found.state for found in results.found].count("complete") == 4
        assert all(training.attempt == 1 for training in results.ledger.trainings())
    assert list(examine(Home(tmp_path))) == []


@pytest.mark.faults
def test_a_full_disk_ends_a_search_with_one_sentence_and_room_lets_it_go_on(tmp_path: Path) -> None:
    """In a file system of 24 MB in memory, which a ballast fills."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system of its own can only be mounted by root")
    try:
        home, ballast = new_home(place / "home"), place / "ballast"

        def fill(progress: Progress) -> None:
            if progress.label == "trial 1" and not ballast.exists():
                with suppress(OSError), ballast.open("wb", buffering=0) as file:  # until it is full
                    while True:
                        file.write(bytes(4096))

        with pytest.raises(StudyError, match=r"disk|full|space"):
            run_study(study(trials=3), home, device="cpu", watch=fill)
        ballast.unlink()
        assert run_study(study(trials=3), home, device="cpu").done == 3
        assert list(examine(home)) == []
    finally:
        close_engines()
        subprocess.run(["umount", "-l", place], check=True)
