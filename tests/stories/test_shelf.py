"""What is on the shelf, and files and folders of one's own beside it: listed, shown, copied, loaded."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from hadnas.arch.read import complete
from hadnas.blocks.registry import ops
from hadnas.library import SHELVES, load, load_architecture, shipped
from hadnas.space.data import from_data
from hadnas.store.study import Study
from tests.shell import hadnas


def test_list_show_and_copy(tmp_path: Path) -> None:
    shelf = hadnas("list").output
    assert "four_families" in shelf and "star_or_sum_digits" in shelf and "gn_conv" in shelf
    assert shelf.startswith("Blocks\nblock ")
    assert "Rewrite the stars" in hadnas("show", "star").output
    assert "assignments" in hadnas("show", "four_families").output
    shown = hadnas("show", "digits").output
    assert "trials" in shown and "plain_conv, starnet_small, timm_resnet" in shown and "blocks: 1..2 x as" in shown
    copied = hadnas("copy", "four_families", "--to", tmp_path)
    assert copied.exit_code == 0 and (tmp_path / "four_families.py").is_file()
    assert hadnas("copy", "four_families", "--to", tmp_path).exit_code == 2
    assert "assignments" in hadnas("show", tmp_path / "four_families.py").output
    assert f"there is no file arch.json in the folder {tmp_path}" in hadnas("show", tmp_path).output
    hadnas("copy", "starnet_s1", "--to", tmp_path)
    (tmp_path / "starnet_s1.json").rename(tmp_path / "arch.json")
    assert hadnas("show", tmp_path).output == hadnas("show", "starnet_s1").output


def test_a_name_is_that_of_one_thing() -> None:
    names = Counter([*ops(), *(name for shelf in SHELVES for name in shipped(shelf))])
    assert len(names) > 60 and [name for name, count in names.items() if count > 1] == []
    assert isinstance(load("star_or_sum"), Study) and isinstance(load("star_or_sum_blocks"), dict)


def test_as_json_an_item_is_whole() -> None:
    read = {
        name: json.loads(hadnas("show", name, "--json").output) for name in ("digits", "four_families", "starnet_s1")
    }
    assert Study(**read["digits"]) == load("digits")
    assert from_data(read["four_families"]) == load("four_families")
    assert complete(read["starnet_s1"]) == load("starnet_s1")
    refused = hadnas("show", "star", "--json")
    assert refused.exit_code == 2 and "unknown" in refused.output


def test_a_published_network_is_shown_as_its_tree() -> None:
    arch = load("starnet_s1")
    assert hadnas("show", "starnet_s1").output.startswith(f"{arch}\nfingerprint {arch.fingerprint}; ")


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
