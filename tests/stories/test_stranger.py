"""A home of a stranger: its rows, links and files were changed by someone who wants to run code or to reach files."""

import os
import pickle
import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
import torch
from sqlalchemy import create_engine, inspect, make_url, text

from hadnas.arch.task import Task
from hadnas.errors import DataError, HadnasError, SpecError, StudyError
from hadnas.hosts.build import build, save_weights
from hadnas.library import copy, load_arch
from hadnas.opened import open_study
from hadnas.results.report import write_report
from hadnas.search.mirror.restore import restore
from hadnas.search.run import run_study
from hadnas.store.database import close_engines
from hadnas.store.home import Home
from hadnas.track import server
from hadnas.track.runs import Tracker
from hadnas.train.checkpoint import load_checkpoint, save_checkpoint
from hadnas.train.data.spec import load_data
from hadnas.train.score import load_score
from tests.homes import new_home, study
from tests.shell import hadnas

PRECIOUS = "precious"
TASK = Task.image(1, 8, 8, classes=10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a study of two trials."""
    home = new_home(tmp_path_factory.mktemp("made") / "home")
    run_study(study(sampler="random", trials=2), home)
    return home.path


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user, outside the home."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "report.html").write_text(PRECIOUS)
    return tmp_path / "victim" / "report.html"


def changed(home: Path, *commands: tuple[str, ...], database: str = "hadnas.db") -> None:
    with closing(sqlite3.connect(home / database)) as opened:
        for command, *values in commands:
            opened.execute(command, values)
        opened.commit()


def test_no_file_that_a_home_names_is_run(home: Path, tmp_path: Path) -> None:
    evil, ran = tmp_path / "evil.py", tmp_path / "ran"
    evil.write_text(f"open({str(ran)!r}, 'w').close()\n")
    changed(
        home,
        (
            "update study_user_attributes set value_json = json_set(value_json, '$.source', ?, '$.blocks', "
            "json('{\"evil\": \"0\"}'), '$.evaluate', ?) where key = 'study'",
            str(evil),
            f"{evil}:train 0",
        ),
    )
    for command in ("top", "report", "finals", "predict", "proxies", "products", "export"):
        done = hadnas(command, "tiny", "--home", home, *(("--out", tmp_path / "out") if command == "export" else ()))
        assert done.exit_code in (0, 2) and "Traceback" not in done.output, done.output
        assert done.exit_code == 0 or str(evil) in done.output
    assert not ran.exists()
    assert hadnas("top", "tiny", "--home", home, "--blocks", evil).exit_code == 0 and ran.exists()  # as the user says


@pytest.mark.parametrize("place", ["../victim.safetensors", "/etc/passwd", "tiny/../../x", "a\0b"])
def test_weights_lie_in_the_home(home: Path, place: str) -> None:
    old = open_study("tiny", home).best.notes["weights"]
    note = "update trial_user_attributes set value_json = json_set(value_json, '$.weights', ?) where key = 'notes'"
    changed(home, ("update hadnas_training set weights = ? where weights = ?", place, old), (note, place))
    results = open_study("tiny", home)
    with pytest.raises(StudyError, match=r"the ledger names the weights '.*; allowed are paths inside the home"):
        results.network(results.best)


def test_a_training_that_goes_on_writes_into_the_home(home: Path) -> None:
    changed(home, ("update hadnas_training set state = 'interrupted', weights = '../out' || id || '.safetensors'",))
    with pytest.raises(StudyError, match=r"the ledger names the weights '\.\./out"):
        run_study(study(name="again", sampler="random", trials=1), Home(home))
    assert not list(home.parent.glob("out*"))


def test_changed_weights_are_refused(home: Path) -> None:
    path = home / open_study("tiny", home).best.notes["weights"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    results = open_study("tiny", home)
    with pytest.raises(StudyError, match="have changed since they were trained: SHA-256"):
        results.network(results.best)


def test_a_study_has_the_name_that_was_checked(home: Path) -> None:
    name = "../../outside"
    changed(home, ("update studies set study_name = ?", name))
    (home / "mlflow.db").unlink()
    with pytest.raises(StudyError, match="its own name is 'tiny'"):
        restore(name, Home(home))
    assert not list(home.parent.parent.glob("outside*"))


@pytest.mark.parametrize("kind", ["trigger", "view"])
def test_no_program_of_a_database_runs(home: Path, kind: str) -> None:
    programs = {
        "trigger": "create trigger evil after insert on study_user_attributes begin delete from trials; end",
        "view": "create view evil as with recursive r(n) as (select 1 union all select n + 1 from r) select * from r",
    }
    changed(home, (programs[kind],))
    done = hadnas("top", "tiny", "--home", home)
    assert done.exit_code == 2 and f"the database has the {kind} 'evil'" in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("run_id", ["../../../victim", pytest.param("..", marks=pytest.mark.slow)])
def test_a_run_that_is_named_as_a_folder_elsewhere_is_not_deleted(home: Path, victim: Path, run_id: str) -> None:
    """The home was moved, so that the runs before the move are removed."""
    with closing(sqlite3.connect(home / "mlflow.db")) as store:
        old = store.execute("select run_uuid from runs order by start_time desc limit 1").fetchone()[0]
        for (table,) in store.execute("select name from sqlite_master where type = 'table'").fetchall():
            for column in (row[1] for row in store.execute(f"pragma table_info({table})").fetchall()):
                if column in ("run_uuid", "run_id", "source_id", "destination_id"):
                    store.execute(f"update {table} set {column} = ? where {column} = ?", (run_id, old))
        store.commit()
    restore("tiny", Home(home))
    assert victim.read_text() == PRECIOUS and (home / "hadnas.db").exists() and (home / "artifacts" / "tiny").is_dir()


@pytest.mark.parametrize("how", ["row", *(pytest.param(how, marks=pytest.mark.slow) for how in ("folder", "file"))])
def test_files_of_runs_stay_in_the_home(home: Path, victim: Path, how: str) -> None:
    restore("tiny", Home(home))  # after its move
    tracker = Tracker(Home(home).tracking_uri, home / "artifacts", "tiny")
    files = home / "artifacts" / "tiny" / tracker.parent_run_id / "artifacts"
    tracker.leave()
    if how == "row":
        changed(home, ("update runs set artifact_uri = ?", victim.parent.as_uri()), database="mlflow.db")
    elif how == "folder":
        shutil.rmtree(files)
        files.symlink_to(victim.parent)
    else:
        (files / "report.html").unlink()
        (files / "report.html").symlink_to(victim)
    with pytest.raises(StudyError, match=r"MLflow's run .* outside .*artifacts; delete mlflow\.db"):
        write_report(open_study("tiny", home))
    assert victim.read_text() == PRECIOUS and len(list(victim.parent.iterdir())) == 1


def test_links_are_replaced_and_not_followed(home: Path, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, missing = open_study("tiny", home), victim.parent / "missing"
    network, score = results.network(results.best), load_score(next(home.glob("tiny/weights/*.val.safetensors")))
    for name, write in (
        ("x.safetensors", lambda path: save_weights(network, path)),
        ("x.val.safetensors", score.save),
        ("x.pt", lambda path: save_checkpoint({"a": 1}, path)),
        ("report.html", lambda path: write_report(results, path)),
    ):
        path = home / "tiny" / name
        path.symlink_to(missing)
        path.with_name(f"{name}.part").symlink_to(victim)
        write(path)
        assert victim.read_text() == PRECIOUS and not missing.exists(), name
        assert path.is_file() and not path.is_symlink()
    monkeypatch.chdir(victim.parent)
    (victim.parent / "digits.py").symlink_to(missing)
    with pytest.raises(StudyError, match="exists already"):
        copy("digits")
    assert not missing.exists()


@pytest.mark.parametrize("lock", [".schema.lock", "artifacts/.open.lock", "artifacts/.tiny.runs.lock"])
def test_a_lock_that_is_a_link_is_refused(home: Path, victim: Path, lock: str) -> None:
    (home / lock).unlink(missing_ok=True)
    (home / lock).symlink_to(victim)
    with pytest.raises(StudyError, match=r"\.lock cannot be locked|\(Too many levels of symbolic links\)"):
        restore("tiny", Home(home))
    assert victim.read_text() == PRECIOUS


class Evil:
    """Runs code where it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.ran),)


@pytest.mark.parametrize("write", [torch.save, lambda found, path: path.write_bytes(pickle.dumps(found))])
def test_a_pickle_is_not_run(write: object, tmp_path: Path) -> None:
    assert callable(write)
    evil, ran = tmp_path / "evil.pth", tmp_path / "ran"
    write({"conv1.weight": Evil(ran)}, evil)
    with pytest.raises(SpecError, match="cannot be read"):
        load_checkpoint(evil)
    grafted = load_arch(f'{{"op": "timm", "model": "resnet18", "weights": "{evil}"}}')
    with pytest.raises(HadnasError, match="no file of weights"):
        build(grafted, TASK)
    for name, place in (("cifar10", "cifar-10-batches-py/data_batch_1"), ("mnist", "MNIST/processed/training.pt")):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(evil.read_bytes())
        (tmp_path / place).with_name("test.pt").write_bytes(evil.read_bytes())
        with pytest.raises(DataError, match=f"timm cannot read 'torch/{name}'"):
            load_data(f"torch/{name}:{tmp_path}")
    assert not ran.exists()
    with open(evil, "rb") as file, pytest.raises(Exception, match=r".*"):  # it would have: the attack is real
        torch.load(file, weights_only=False)["conv1.weight"].no_attribute  # noqa: B018
    assert ran.exists()


VALUES = [None, "", "x", "{", "[]", "5", "null", 5, -1, 1e300, 2**62, b"\xff\0", "../../x", "\0", "\x1b[31m", "[" * 500]


@pytest.mark.slow
def test_any_other_value_of_any_row_is_read_or_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every column of every table of the database, each with one."""
    chosen, tried = random.Random(0), 0
    with closing(sqlite3.connect(home / "hadnas.db")) as opened:
        opened.execute("pragma wal_checkpoint(truncate)")
        tables = [name for (name,) in opened.execute("select name from sqlite_master where type = 'table'")]
        columns = [(table, row[1]) for table in tables for row in opened.execute(f"pragma table_info({table})")]
    whole = (home / "hadnas.db").read_bytes()
    monkeypatch.chdir(home.parent)
    for table, column in columns:
        for value in chosen.sample(VALUES, 1):
            close_engines()
            for path in home.glob("hadnas.db*"):
                path.unlink()
            (home / "hadnas.db").write_bytes(whole)
            try:
                changed(home, (f"update or ignore {table} set {column} = ?", value))
            except sqlite3.Error:  # it may not be empty, or may not occur twice
                continue
            tried += 1
            for command in (("top", "tiny"), ("ledger", "trainings")):
                done = hadnas(*command, "--home", home)
                assert done.exit_code in (0, 2) and "\x1b" not in done.output, (table, column, value, done.exception)
    assert tried > 80


@pytest.mark.postgres
def test_a_password_is_stored_and_shown_nowhere(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "hunter2-swordfish"
    url = make_url(postgres).set(password=secret).render_as_string(hide_password=False)
    monkeypatch.setenv("HADNAS_STORAGE", url)
    home = Home(tmp_path / "home")
    run_study(study(sampler="random", trials=1), home)
    printed = [repr(home), *(hadnas(command, "tiny", "--home", home.path).output for command in ("top", "report"))]
    with server.server(home.tracking_uri, home.artifacts, server.free_port(0)):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended
                printed.append(path.read_bytes().decode(errors="replace"))
    assert any("mlflow" in said for said in printed)
    for database in (url, home.tracking_uri):
        engine = create_engine(database)
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            rows = [connection.execute(text(f'select t::text from "{table}" t')).scalars().all() for table in tables]
        engine.dispose()
        assert tables and sum(map(len, rows)) > 10
        printed += [row for found in rows for row in found]
    printed += [path.read_bytes().decode(errors="replace") for path in home.path.rglob("*") if path.is_file()]
    assert not [said[:200] for said in [*printed, *capfd.readouterr()] if secret in said]
