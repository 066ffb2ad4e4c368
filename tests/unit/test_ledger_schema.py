"""A ledger of another version is brought up to date or refused; a bad database is named and left alone."""

import sqlite3

import pytest
from sqlalchemy import text

from hadnas.errors import StudyError
from hadnas.store.database import open_engine
from hadnas.store.ledger import Ledger
from hadnas.store.records import TrainingKey
from hadnas.store.tables import STEPS, VERSION, add_workers

KEY = TrainingKey("f1", "t", "d", "r", 3, 0, "c")
RUNNING = TrainingKey("f1", "t", "d", "r", 3, 1, "c")

WITHOUT_WORKERS = (  # as version 4 had it
    "alter table hadnas_training drop column holder",
    "alter table hadnas_training drop column weights_sha256",
    "alter table hadnas_training drop column metrics",
    "alter table hadnas_epoch drop column metrics",
    "drop table hadnas_worker",
    "drop table hadnas_item",
    "update hadnas_schema set version = 4",
)


def fill(url):
    ledger = Ledger(url)
    ledger.measured.put_architecture("f1", "{}")
    claim = ledger.claim(KEY, study="digits")
    ledger.add_epoch(claim, 1, metrics={"accuracy": 0.5})
    ledger.finish(claim, metrics={"accuracy": 0.5}, val_loss=1.0, val_n=10, seconds=1.0)
    ledger.close()


def run(url, *statements):
    engine = open_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def version(url):
    engine = open_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("select version from hadnas_schema")).scalar_one()
    engine.dispose()
    return found


@pytest.fixture
def older(url):
    """A ledger of version 4, with a finished training, and one that a worker is at."""
    fill(url)
    ledger = Ledger(url)
    ledger.claim(RUNNING, study="digits")
    ledger.close()
    run(url, *WITHOUT_WORKERS)
    return url


def test_an_older_ledger_is_brought_up_to_date_with_all_it_holds(older):
    ledger = Ledger(older)
    done = ledger.claim(KEY)
    assert done.status == "done" and done.training.metrics["accuracy"] == 0.5 and len(done.training.curve) == 1
    assert ledger.training(KEY).weights_sha256 is None  # of files that were written before none is known
    left = ledger.claim(RUNNING)
    assert (left.status, left.attempt) == ("mine", 2)  # nobody knows of its worker
    finished = ledger.finish(left, metrics={"accuracy": 0.5}, val_loss=1.0, val_n=10, seconds=1.0, weights_sha256="ab")
    assert finished.weights_sha256 == "ab" == ledger.training(RUNNING).weights_sha256
    ledger.close()
    assert version(older) == VERSION


def test_an_item_of_version_6_is_taken_over(url):
    fill(url)
    ledger = Ledger(url)
    ledger.claims.take("s", ["draw 0"])
    ledger.close()
    left = ("alter table hadnas_item drop column since", "alter table hadnas_item drop column reason")
    run(url, *left, "delete from hadnas_worker", "update hadnas_schema set version = 6")
    ledger = Ledger(url)
    assert [(each.item, each.pid) for each in ledger.claims.activities("s")] == [("draw 0", None)]
    assert ledger.claims.take("s", ["draw 0"]).attempt == 2
    assert ledger.claims.activities("s")[0].seconds >= 0
    ledger.close()
    assert version(url) == VERSION


def test_a_step_that_fails_changes_nothing(older, monkeypatch):
    def broken(connection):
        add_workers(connection)
        connection.execute(text("update hadnas_training set val_accuracy = 0"))
        connection.execute(text("select no_such_column from hadnas_training"))

    monkeypatch.setitem(STEPS, 4, broken)
    with pytest.raises(StudyError, match="no_such_column"):
        Ledger(older)
    assert version(older) == 4
    monkeypatch.setitem(STEPS, 4, add_workers)
    ledger = Ledger(older)
    assert ledger.training(KEY).metrics["accuracy"] == 0.5
    ledger.close()


@pytest.mark.parametrize("found", [VERSION + 1, -1])
def test_a_newer_or_too_old_ledger_is_refused_with_versions_and_file(url, found):
    fill(url)
    run(url, f"update hadnas_schema set version = {found}, written_by = 'hadnas 9.9'")
    with pytest.raises(StudyError, match=rf"hadnas.*version {found} \(written by hadnas 9.9\).*to {VERSION}"):
        Ledger(url)
    assert version(url) == found


def test_a_refused_file_keeps_every_byte(tmp_path):
    path = tmp_path / "hadnas.db"
    fill(f"sqlite:///{path}")
    run(f"sqlite:///{path}", f"update hadnas_schema set version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StudyError, match=str(path)):
        Ledger(f"sqlite:///{path}")
    assert path.read_bytes() == before


def damaged(path):
    """A file that begins like a database and holds nothing of one."""
    fill(f"sqlite:///{path}")
    path.write_bytes(path.read_bytes()[:100] + b"\xa5" * 50_000)


def foreign(path):
    path.write_text("this is a text\n" * 10)


@pytest.mark.parametrize("spoil", [damaged, foreign])
def test_a_damaged_or_foreign_file_is_named_and_left_alone(tmp_path, spoil):
    path = tmp_path / "hadnas.db"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(StudyError, match=rf"{path}: .*damaged.* left as it is|{path}: .*damaged\); it was left"):
        Ledger(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_locked_database_is_named(tmp_path):
    path = tmp_path / "hadnas.db"
    fill(f"sqlite:///{path}")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin immediate")
    with pytest.raises(StudyError, match=rf"{path}: .*process.*lock"):
        Ledger(f"sqlite:///{path}", timeout=0.1)
    holder.execute("rollback")
    holder.close()
    Ledger(f"sqlite:///{path}", timeout=0.1).close()


def test_a_server_that_is_not_there_is_named_without_its_password():
    with pytest.raises(StudyError, match=r"hadnas:\*\*\*@127.0.0.1:1/x") as caught:
        Ledger("postgresql://hadnas:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
