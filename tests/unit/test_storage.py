"""Where studies live."""

import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from hadnas.errors import StudyError
from hadnas.store.database import clear_errors, open_engine
from hadnas.store.home import Home, optuna_storage, weights_name
from hadnas.store.ledger import Ledger


@pytest.fixture(autouse=True)
def _unset(monkeypatch, tmp_path):
    monkeypatch.delenv("HADNAS_HOME", raising=False)
    monkeypatch.delenv("HADNAS_STORAGE", raising=False)
    monkeypatch.chdir(tmp_path)


def test_argument_before_environment_before_runs(tmp_path, monkeypatch):
    assert Home().path == tmp_path / "runs"
    monkeypatch.setenv("HADNAS_HOME", str(tmp_path / "there"))
    assert Home().path == tmp_path / "there" and Home().path.is_dir()
    home = Home(tmp_path / "here")
    assert home.url == f"sqlite:///{tmp_path}/here/hadnas.db"
    assert home.tracking_uri == f"sqlite+pysqlite:///{tmp_path}/here/mlflow.db"
    assert weights_name("digits", "f1") == "digits/weights/f1.safetensors"
    assert weights_name("digits", "f1", "ab12") == "digits/weights/f1-ab12.safetensors"


def test_a_server_keeps_tracking_in_a_database_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HADNAS_STORAGE", "postgresql://me:pw@db/studies")
    home = Home(tmp_path)
    assert home.url == "postgresql+psycopg://me:pw@db/studies"
    assert home.tracking_uri == "postgresql+psycopg://me:pw@db/studies_mlflow"
    assert "pw" not in repr(home)


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"file/runs'.*--home or HADNAS_HOME"):
        Home(tmp_path / "file" / "runs")


@pytest.mark.parametrize("url", ["mysql://me:pw@db/x", "nonsense", "sqlite://", "sqlite:///:memory:"])
def test_other_storages_are_refused_with_what_is_allowed(tmp_path, url):
    with pytest.raises(StudyError, match=r"storage .*(postgresql|sqlite):///?") as caught:
        Home(tmp_path, url)
    assert "pw" not in str(caught.value)


OPEN = """
import sys, time, warnings
from pathlib import Path
from hadnas.store.ledger import Ledger
from hadnas.store.home import Home, optuna_storage
import optuna
warnings.simplefilter("error")
home = Home(sys.argv[1], sys.argv[2])
Path(sys.argv[1], sys.argv[3]).touch()
while not Path(sys.argv[1], "go").exists(): time.sleep(0.01)
storage = optuna_storage(home)
Ledger(home.url).close()
optuna.create_study(storage=storage, study_name=sys.argv[3])
"""


def test_processes_that_open_a_new_home_at_once_make_its_schemas_once(url, tmp_path):
    command = [sys.executable, "-c", OPEN, str(tmp_path), url]
    workers = [subprocess.Popen([*command, f"study{i}"], stderr=subprocess.PIPE, text=True) for i in range(3)]
    until = time.monotonic() + 600
    while len(list(tmp_path.glob("study*"))) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    Path(tmp_path, "go").touch()
    said = [worker.communicate(timeout=600)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 3, said
    storage = optuna_storage(Home(tmp_path, url))
    assert sorted(optuna.get_all_study_names(storage)) == ["study0", "study1", "study2"]
    storage.engine.dispose()


def test_a_database_of_another_optuna_is_refused(tmp_path):
    home = Home(tmp_path)
    optuna_storage(home).engine.dispose()
    engine = open_engine(home.url)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = 'v9.0.0.a'"))
    engine.dispose()
    with pytest.raises(StudyError, match=r"hadnas.db: The runtime optuna version"):
        optuna_storage(home)


def test_a_lock_that_optuna_waits_for_in_vain_is_named(tmp_path):
    home = Home(tmp_path)
    storage = optuna_storage(home, timeout=0.1)
    study = optuna.create_study(storage=storage, study_name="waits")
    holder = sqlite3.connect(tmp_path / "hadnas.db", isolation_level=None)
    holder.execute("begin immediate")
    with pytest.raises(StudyError, match=r"hadnas.db: .*process.*lock"), clear_errors(home.url):
        study.set_user_attr("a", 1)
    holder.execute("rollback")
    holder.close()
    storage.engine.dispose()
    with pytest.raises(RuntimeError, match="of another kind"), clear_errors(home.url):
        raise RuntimeError("of another kind")


def test_optuna_and_the_ledger_share_a_file_that_readers_need_not_wait_for(tmp_path):
    home = Home(tmp_path)
    storage, ledger = optuna_storage(home), Ledger(home.url)
    with storage.engine.connect() as connection:
        assert connection.execute(text("pragma journal_mode")).scalar() == "wal"
        assert connection.execute(text("pragma synchronous")).scalar() == 1
    ledger.measured.put_architecture("f1", "{}")
    ledger.close()
    storage.engine.dispose()


@pytest.mark.postgres
def test_the_tracking_database_is_made_once(postgres, tmp_path):
    home = Home(tmp_path, postgres)
    home.make_tracking_database()
    home.make_tracking_database()
    with home.schema_lock():
        engine = open_engine(home.tracking_uri)
        with engine.connect() as connection:
            assert connection.execute(text("select 1")).scalar() == 1
        engine.dispose()


@pytest.mark.postgres
def test_workers_that_start_together_make_one_tracking_database(postgres, tmp_path):
    homes = [Home(tmp_path / f"machine{n}", postgres) for n in range(4)]
    with ThreadPoolExecutor(len(homes)) as workers:
        list(workers.map(Home.make_tracking_database, homes))
    engine = open_engine(homes[0].tracking_uri)
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar() == 1
    engine.dispose()


OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("select count(*) from hadnas_architecture").fetchone()[0])
print(connection.execute("pragma integrity_check").fetchone()[0])
connection.close()
"""


def test_a_process_that_ends_takes_no_log_away_from_one_that_works(tmp_path):
    """Though the latter opened and closed the database once more: what it writes from then on is there for all."""
    path = tmp_path / "hadnas.db"
    ledger = Ledger(f"sqlite:///{path}")
    counts = []
    for number in range(3):
        ledger.measured.put_architecture(f"f{number}", "{}")
        Ledger(f"sqlite:///{path}").close()
        done = subprocess.run([sys.executable, "-c", OTHER, path], capture_output=True, text=True, check=True)
        counts.append(done.stdout.split())
        assert (tmp_path / "hadnas.db-wal").exists()
    ledger.close()
    assert counts == [["1", "ok"], ["2", "ok"], ["3", "ok"]]
