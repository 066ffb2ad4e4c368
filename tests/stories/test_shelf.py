"""What is on the shelf, and files and folders of one's own beside it: listed, shown, copied, loaded."""

import sys
from pathlib import Path

import pytest

from hadnas.library import load, load_architecture
from hadnas.store.study import Study
from tests.shell import hadnas


def test_list_show_and_copy(tmp_path: Path) -> None:
    shelf = hadnas("list").output
    assert "four_families" in shelf and "star_or_sum_digits" in shelf and "gn_conv" in shelf
    assert "Rewrite the stars" in hadnas("show", "star").output
    assert "assignments" in hadnas("show", "four_families").output
    assert '"trials": 16' in hadnas("show", "digits").output
    copied = hadnas("copy", "four_families", "--to", tmp_path)
    assert copied.exit_code == 0 and (tmp_path / "four_families.py").is_file()
    assert hadnas("copy", "four_families", "--to", tmp_path).exit_code == 2
    assert "assignments" in hadnas("show", tmp_path / "four_families.py").output
    assert f"there is no file arch.json in the folder {tmp_path}" in hadnas("show", tmp_path).output
    hadnas("copy", "starnet_s1", "--to", tmp_path)
    (tmp_path / "starnet_s1.json").rename(tmp_path / "arch.json")
    assert hadnas("show", tmp_path).output == hadnas("show", "starnet_s1").output


def test_an_exported_folder_may_have_the_name_of_its_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "arch.json").write_text(load("starnet_s1").json)
    assert load_architecture("digits") == load("./digits") == load("starnet_s1")
    assert isinstance(load("digits"), Study)


def test_a_file_may_import_the_file_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "widths_of_mine.py").write_text("WIDTH = 24")
    (tmp_path / "wide.py").write_text("from widths_of_mine import WIDTH\nSPACE = {'op': 'pyramid', 'dim': WIDTH}")
    assert load(tmp_path / "wide.py") == {"op": "pyramid", "dim": 24}
