"""An architecture is read once per candidate and process: in a trial, and in an export of a study's network."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from hadnas.arch.node import Arch, stored_arch
from hadnas.errors import SpecError
from hadnas.hosts.pyramid_host import PyramidHost
from hadnas.opened import open_study
from hadnas.search.run import run_study
from tests.contracts.test_hosts import readings
from tests.homes import new_home, study
from tests.networks import pyramid

PLAIN = pyramid((8, []))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose study timed and trained two candidates and a baseline, and read each once to evaluate it."""
    home = new_home(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hadnas.search.latency.timing.SECONDS", 0.01)
        read = readings(patch, PyramidHost)
        run_study(study(trials=2, latency="eager", baselines={"plain": PLAIN}), home, device="cpu")
    results = open_study("tiny", home.path)
    evaluated = [found.arch.fingerprint for found in (*results.baselines, *results.found) if found.arch is not None]
    assert len(set(evaluated)) == 3
    first = read[0]  # of a draw made before any work, which says that the space has one
    once = Counter([first, *evaluated])
    assert once <= Counter(read) <= once + once  # once more for the weights that it starts from, or for the report
    return home.path


def test_an_export_reads_once(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = open_study("tiny", place)
    read = readings(monkeypatch, PyramidHost)
    best = results.best
    results.export(best, tmp_path / "best")
    results.network(best)
    assert best.arch is not None and read == [best.arch.fingerprint]


def test_an_architecture_of_a_later_format_is_refused() -> None:
    """The ledger's own are read by the one reader, which knows the versions; unknown ops are data to it."""
    text = '{"format":2,"op":"of_a_file"}'
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    with pytest.raises(SpecError, match=f"^architecture {fingerprint}: format 2 is later than 1, .* upgrade hadnas$"):
        stored_arch(text, fingerprint)
    known = Arch({"op": "of_a_file"})
    assert stored_arch(known.json, known.fingerprint) == known
