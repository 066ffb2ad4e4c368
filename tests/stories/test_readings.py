"""An architecture is read once per candidate and process: in a trial, and in an export of a study's network."""

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from hadnas.hosts.pyramid_host import PyramidHost
from hadnas.results.table import open_study
from hadnas.search.run import run_study
from tests.contracts.test_hosts import readings
from tests.homes import new_home, study
from tests.networks import pyramid
from tests.shell import hadnas

PLAIN = pyramid((8, []))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose study timed and trained two candidates and a baseline, and read each once."""
    home = new_home(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hadnas.search.timing.SECONDS", 0.01)
        read = readings(patch, PyramidHost)
        run_study(study(trials=2, latency="eager", baselines={"plain": PLAIN}), home, device="cpu")
    results = open_study("tiny", home.path)
    evaluated = [found.arch.fingerprint for found in (*results.baselines, *results.found) if found.arch is not None]
    assert len(set(evaluated)) == 3
    first = read[0]  # of a draw made before any work, which says that the space has one
    assert Counter(read) == Counter([first, *evaluated])
    return home.path


def test_an_export_reads_once(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = open_study("tiny", place)
    read = readings(monkeypatch, PyramidHost)
    best = results.best
    results.export(best, tmp_path / "best")
    results.network(best)
    assert best.arch is not None and read == [best.arch.fingerprint]


def test_an_architecture_of_a_later_format_is_refused_in_one_sentence(place: Path, tmp_path: Path) -> None:
    """The ledger's own are read by the one reader, which knows the versions."""
    shutil.copytree(place, tmp_path / "later")
    with closing(sqlite3.connect(tmp_path / "later" / "hadnas.db")) as book, book:
        book.execute("""update hadnas_architecture set arch = replace(arch, '"format":1', '"format":2')""")
    done = hadnas("top", "tiny", "--home", tmp_path / "later")
    said = [line for line in done.output.splitlines() if line.startswith("error: ")]
    assert done.exit_code == 2 and len(said) == 1, done.output
    assert "in the ledger" in said[0] and "format 2 is later than 1" in said[0]
