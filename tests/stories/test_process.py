"""`hadnas` as a process: what it prints, with what it ends, and what it leaves behind."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.shell import hadnas


def test_a_process_says_all_that_it_has_to_say_and_with_what_it_ends(tmp_path: Path) -> None:
    """`hadnas` leaves Python the short way: nothing printed may be lost, nor the exit status, nor any word added."""

    def started(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "hadnas", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    status, out, err = started("show", "digits")
    assert (status, err) == (0, "") and out == hadnas("show", "digits").output
    status, out, err = started("top", "nowhere", "--home", str(tmp_path))
    assert status == 2 and out == "" and err.startswith("error: there is no study in") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())  # what only reads makes nothing
    status, out, err = started("finals")
    assert status == 2 and "Missing argument 'STUDY'" in err


def test_a_process_leaves_its_database_in_one_file(tmp_path: Path) -> None:
    """A log beside it would be lost to whoever copies the file."""
    code = """if True:
        import sys
        import hadnas.shell.cli as cli

        def main():
            from hadnas.store.ledger import Ledger
            from hadnas.store.home import Home, optuna_storage

            home = Home(sys.argv[1])
            sys.held = optuna_storage(home), Ledger(home.url)
            sys.held[1].measured.put_architecture("f1", "{}")

        cli.main = main
        cli.run()
    """
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert not list(tmp_path.glob("hadnas.db-*"))
    with closing(sqlite3.connect(tmp_path / "hadnas.db")) as base:
        assert base.execute("select fingerprint from hadnas_architecture").fetchall() == [("f1",)]


def test_a_crash_of_a_process_is_seen() -> None:
    code = "import hadnas.shell.cli as cli; cli.main = lambda: 1 / 0; cli.run()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full: Linux has one")
def test_a_full_disk_is_said() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "hadnas", "list", "spaces"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: the disk is full") and done.stderr.count("\n") == 1
