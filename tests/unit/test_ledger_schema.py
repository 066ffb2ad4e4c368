"""A ledger of another version is brought up to date or refused; a bad database is named and left alone."""

import sqlite3

import pytest
from sqlalchemy import text

from hadnas.errors import StudyError
from hadnas.store.database import open_engine
from hadnas.store.ledger import Ledger
from hadnas.store.listing import rows
from hadnas.store.records import Costs, TrainingKey
from hadnas.store.tables import STEPS, VERSION

KEY = TrainingKey("f1", "t", "d", "r", 3, 0, "c")


WITHOUT_HASHES = ("alter table hadnas_training drop column weights_sha256",)
WITHOUT_CODE = (  # as version 3 had them
    *WITHOUT_HASHES,
    "alter table hadnas_latency drop column code",
    "drop table hadnas_cost",
    "create table hadnas_cost (fingerprint text not null references hadnas_architecture (fingerprint), "
    "task text not null, params bigint not null, macs bigint not null, elementwise bigint not null, "
    "products bigint not null, activations bigint not null, primary key (fingerprint, task))",
)
WITHOUT_PREDICTORS = (*WITHOUT_CODE, "drop table hadnas_predictor")


def fill(url):
    ledger = Ledger(url)
    ledger.put_architecture("f1", "{}")
    claim = ledger.claim(KEY, study="digits")
    ledger.add_epoch(claim, 0, val_accuracy=0.5)
    ledger.finish(claim, val_accuracy=0.5, val_loss=1.0, val_n=10, seconds=1.0)
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
    """A ledger of version 0, which knew neither test scores nor which study had trained."""
    fill(url)
    older = "drop table hadnas_test", "alter table hadnas_training drop column study"
    run(url, *WITHOUT_PREDICTORS, *older, "update hadnas_schema set version = 0")
    return url


def add_study(connection):
    connection.execute(text("alter table hadnas_training add column study text not null default ''"))


def test_an_older_ledger_is_brought_up_to_date_with_all_it_holds(older, monkeypatch):
    monkeypatch.setitem(STEPS, 0, add_study)
    ledger = Ledger(older)
    done = ledger.claim(KEY)
    assert done.status == "done" and done.training.val_accuracy == 0.5 and len(done.training.curve) == 1
    assert done.training.study == ""
    assert ledger.claim(TrainingKey("f1", "t", "d", "r", 3, 1, "c"), study="new").training.study == "new"
    ledger.close()
    assert version(older) == VERSION


def test_a_ledger_of_version_1_learns_to_keep_test_scores(url):
    fill(url)
    run(url, *WITHOUT_PREDICTORS, "drop table hadnas_test", "update hadnas_schema set version = 1")
    ledger = Ledger(url)
    ledger.put_test(KEY, [True, False], 0.25)
    assert ledger.get_test(KEY) == ([True, False], 0.25)
    ledger.close()
    assert version(url) == VERSION


def test_a_ledger_of_version_2_learns_to_keep_predictors(url):
    fill(url)
    run(url, *WITHOUT_PREDICTORS, "update hadnas_schema set version = 2")
    ledger = Ledger(url)
    for error in (0.5, 0.25):  # a later fit replaces the earlier one
        ledger.put_predictor("space", "task", "key", {"backend": "eager"}, {"error": error})
    assert ledger.get_predictor("space", "task", "key") == {"error": 0.25}
    assert ledger.get_predictor("space", "task", "other") is None
    ledger.close()
    assert version(url) == VERSION


def test_a_ledger_of_version_3_takes_costs_and_latencies_again_by_code(url):
    fill(url)
    ledger = Ledger(url)
    ledger.put_latency("f1", "t", "c", "p", {}, {"ratio": 1.0})
    ledger.close()
    run(url, *WITHOUT_CODE, "insert into hadnas_cost values ('f1', 't', 1, 2, 3, 4, 5)")
    run(url, "update hadnas_schema set version = 3")
    ledger = Ledger(url)
    assert ledger.get_cost("f1", "t", "c") is None and ledger.get_latency("f1", "t", "c", "p") is None
    ledger.put_cost("f1", "t", "c", Costs(*range(8)))
    assert ledger.get_cost("f1", "t", "c") == Costs(*range(8))
    assert [(row["code"], row["macs"], row["calls"]) for row in rows(ledger, "costs")] == [("", 2, None), ("c", 1, 6)]
    assert [(row["code"], row["figures"]) for row in rows(ledger, "latencies")] == [("", {"ratio": 1.0})]
    with pytest.raises(StudyError, match="put_architecture first"):
        ledger.put_cost("f9", "t", "c", Costs(*range(8)))
    ledger.close()
    assert version(url) == VERSION


def test_a_ledger_of_version_4_learns_to_keep_hashes_of_weights(url):
    """Those of files that were written before are not known."""
    fill(url)
    run(url, *WITHOUT_HASHES, "update hadnas_schema set version = 4")
    ledger = Ledger(url)
    assert ledger.training(KEY).val_accuracy == 0.5 and ledger.training(KEY).weights_sha256 is None
    claim = ledger.claim(TrainingKey("f1", "t", "d", "r", 3, 1, "c"))
    finished = ledger.finish(claim, val_accuracy=0.5, val_loss=1.0, val_n=10, seconds=1.0, weights_sha256="ab")
    assert finished.weights_sha256 == "ab" == ledger.training(claim.key).weights_sha256
    ledger.close()
    assert version(url) == VERSION


def test_a_step_that_fails_changes_nothing(older, monkeypatch):
    def broken(connection):
        add_study(connection)
        connection.execute(text("update hadnas_training set val_accuracy = 0"))
        connection.execute(text("select no_such_column from hadnas_training"))

    monkeypatch.setitem(STEPS, 0, broken)
    with pytest.raises(StudyError, match="no_such_column"):
        Ledger(older)
    assert version(older) == 0
    monkeypatch.setitem(STEPS, 0, add_study)
    ledger = Ledger(older)
    assert ledger.training(KEY).val_accuracy == 0.5
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
    with pytest.raises(StudyError, match=rf"{path}: another process holds its lock"):
        Ledger(f"sqlite:///{path}", timeout=0.1)
    holder.execute("rollback")
    holder.close()
    Ledger(f"sqlite:///{path}", timeout=0.1).close()


def test_a_server_that_is_not_there_is_named_without_its_password():
    with pytest.raises(StudyError, match=r"hadnas:\*\*\*@127.0.0.1:1/x") as caught:
        Ledger("postgresql://hadnas:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
