"""A home that an earlier version made is opened, read, exported and gone on with."""

import json
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from hadnas.doctor import examine
from hadnas.opened import open_study
from hadnas.search.run import run_study
from hadnas.store.home import Home
from tests.kept.make import KEPT, kept_study
from tests.shell import hadnas

HOMES = sorted(KEPT.glob("home-*.tar.xz"))


@pytest.mark.parametrize("kept", HOMES, ids=[path.name for path in HOMES])
def test_a_home_of_an_earlier_version_is_opened_and_gone_on_with(kept: Path, tmp_path: Path) -> None:
    with tarfile.open(kept) as archive:
        archive.extractall(tmp_path / "home", filter="data")
    home = Home(tmp_path / "home")
    top = hadnas("top", "tiny", "--home", home.path)
    assert top.exit_code == 0 and "trial-0002" in top.output and "net" in top.output
    out = hadnas("export", "tiny", "--home", home.path, "--out", tmp_path / "out")
    assert out.exit_code == 0, out.output
    assert json.loads((tmp_path / "out" / "arch.json").read_text())["format"] == 1
    with closing((before := open_study("tiny", home.path)).ledger):
        rows = [(found.name, found.figures, found.params) for found in (*before.found, *before.baselines)]
        assert len(rows) == 4 and len(before.ledger.trainings()) == 4
    assert run_study(kept_study(4), home, device="cpu").done == 4
    with closing((after := open_study("tiny", home.path)).ledger):
        assert [(found.name, found.figures, found.params) for found in (*after.found[:3], *after.baselines)] == rows
        assert len(after.ledger.trainings()) == 5  # nothing is trained twice
    assert list(examine(home)) == []
