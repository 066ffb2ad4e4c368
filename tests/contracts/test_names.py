"""Names and paths that mean something elsewhere: in a URL, in markup, to a terminal, to a file system."""

import os
from pathlib import Path

import optuna
import pytest
from pydantic import ValidationError

from hadnas.errors import StudyError, printable
from hadnas.opened import open_study
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.shell.progress import SearchDisplay
from hadnas.store.home import Home, optuna_storage
from hadnas.store.ledger import Ledger
from hadnas.store.study import NAME_BYTES
from hadnas.track.names import without_password
from hadnas.track.runs import Tracker
from tests.homes import new_home, study
from tests.shell import hadnas

LIST = "from hadnas import op\nSPACE = op('pyramid')\n"


@pytest.mark.parametrize("name", ["a?b", "#1 %41 %3F", "é漢 & {x} @b:c ; + '\"", "two\nlines."])
def test_a_home_of_any_name_holds_all_its_files(name: str, tmp_path: Path) -> None:
    home = new_home(tmp_path / name)
    storage, ledger = optuna_storage(home), Ledger(home.url)
    optuna.create_study(storage=storage, study_name="s")
    ledger.measured.put_architecture("f1", "{}")
    tracker = Tracker(home.tracking_uri, home.artifacts, "s")
    tracker.log_text(tracker.parent_run_id, "kept", "note.txt")
    ledger.close()
    storage.engine.dispose()
    assert os.listdir(tmp_path) == [name]
    assert {"hadnas.db", "mlflow.db", "artifacts"} <= set(os.listdir(tmp_path / name))
    kept = tmp_path / name / "artifacts" / "s" / tracker.parent_run_id / "artifacts" / "note.txt"
    assert kept.read_text() == "kept" and Ledger(Home(tmp_path / name).url).measured.architecture("f1") == "{}"


def test_a_home_that_no_url_can_name_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"not UTF-8"):
        Home(tmp_path / os.fsdecode(b"\xff"))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * (NAME_BYTES + 1), "x" * 255, "é" * 123, "漢" * 82])
def test_a_name_too_long_for_a_file_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LIST)
    done = hadnas("search", tmp_path / "mine.py", "--home", tmp_path / "runs", "--name", name)
    assert done.exit_code == 2 and f"takes {len(name.encode())} bytes; allowed are 244" in done.output, done.output
    assert set(os.listdir(tmp_path)) - {"__pycache__"} == {"mine.py"}  # Python may cache what it imports


def test_the_longest_name_is_searched_under(tmp_path: Path) -> None:
    name = "x" * NAME_BYTES
    run_study(study(name=name, trials=1), new_home(tmp_path), device="cpu")
    assert open_study(name, tmp_path).best.name == "trial-0000"
    with pytest.raises(ValidationError, match="245 bytes"):
        study(name=name + "x")


NAME = "[/x] [bold]y :boom: $\\frac$ \x1b[31m"
SHOWN = "[/x] [bold]y :boom: $\\frac$ \\x1b[31m"


def test_a_name_is_printed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the progress of a terminal, in tables, and in the report with its figures."""
    chosen, home = study(trials=1, baselines={NAME: "test_resnet"}), new_home(tmp_path)
    with monkeypatch.context() as terminal:
        terminal.setenv("FORCE_COLOR", "1")  # by which rich takes anything for one
        shown = SearchDisplay()
        with shown.bar:
            run_study(chosen, home, device="cpu", watch=shown)
            shown(Progress("tiny", 1, epochs=1, label=NAME))
            with shown.console.capture() as captured:
                shown.console.print(shown.bar.get_renderable())
    assert f"{SHOWN}: " in captured.get()
    done = hadnas("top", "tiny", "--home", tmp_path)
    assert done.exit_code == 0 and SHOWN in done.output, done.output
    written = hadnas("report", "tiny", "--home", tmp_path, "--out", tmp_path / "page.html")
    assert written.exit_code == 0, written.output
    page = (tmp_path / "page.html").read_text()
    assert f"{SHOWN}</text>" in page and "\x1b" not in page
    missing = hadnas("top", "\x1b[31m", "--home", tmp_path)
    assert missing.exit_code == 2 and "\x1b" not in missing.output


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert printable("é漢 \t\n[/x]") == "é漢 \t\n[/x]"
    assert printable("\x1b[2J \r \x07 \x9b \u202e \udcff") == "\\x1b[2J \\r \\x07 \\x9b \\u202e \\udcff"


@pytest.mark.parametrize(
    "url",
    [
        "me:secret@db/x",
        "postgresql:me:secret@db/x",
        "postgresql://me:secret@db:port/x",
        "mysql://me:sec/secret@db/x",
        "mysql://db/x?password=secret",
        "sqlite://me:secret@/",
    ],
)
def test_a_storage_that_is_none_is_said_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"storage .*sqlite:///.*") as caught:
        Home(tmp_path / "runs", url)
    assert "secret" not in str(caught.value) and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql://me:secret@db/x?sslmode=require", "postgresql://me:***@db/x?sslmode=require"),
        ("http://me:sec/ret@secret@host:5000", "http://me:***@host:5000"),
        ("postgresql://db/x?password=secret&a=b", "postgresql://db/x?password=***&a=b"),
        ("sqlite:////a/b:c@d/mlflow.db", "sqlite:////a/b:c@d/mlflow.db"),
    ],
)
def test_a_tracking_store_is_said_without_its_password(uri: str, said: str) -> None:
    assert without_password(uri) == said


def test_a_file_that_exists_is_overwritten_only_where_that_is_asked_for(tmp_path: Path) -> None:
    home = Home(tmp_path / "runs")
    optuna_storage(home).engine.dispose()
    Ledger(home.url).close()
    (tmp_path / "mine.txt").write_text("mine")
    for file in (tmp_path / "mine.txt", tmp_path / "runs", tmp_path / "mine.txt" / "below"):
        refused = hadnas("ledger", "trainings", "--home", home.path, "--csv", file)
        assert refused.exit_code == 2 and str(file) in refused.output and "Traceback" not in refused.output
    assert (tmp_path / "mine.txt").read_text() == "mine"
    done = hadnas("ledger", "trainings", "--home", home.path, "--csv", tmp_path / "mine.txt", "--force")
    assert done.exit_code == 0 and (tmp_path / "mine.txt").read_text().startswith("id,fingerprint")
