"""Reading a home runs no file that it names: only what the command line names, or a program imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hadnas.arch.task import Task
from hadnas.errors import StudyError
from hadnas.hosts.host import make_plan
from hadnas.library import use_blocks
from hadnas.opened import open_study
from hadnas.search.run import run_study
from hadnas.source.module import plan_source
from hadnas.space import one_of, op
from tests.homes import new_home, study
from tests.networks import block_file, pyramid, residual
from tests.shell import hadnas, process

SPACE = pyramid((8, [residual(op("planted"), drop_path=one_of(0.0, 0.1, 0.2, 0.3))]))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stranger's home, whose study names `planted.py`: a file that leaves a mark where it runs."""
    place = tmp_path_factory.mktemp("stranger")
    (place / "planted.py").write_text(block_file("Planted"))
    with process():
        use_blocks(place / "planted.py")
        home = new_home(place / "runs")
        run_study(study(name="mine", space=SPACE, trials=4, sampler="exhaustive"), home, device="cpu")
        results = open_study("mine", home.path)
        assert results.study.source == str((place / "planted.py").resolve()) and results.best.arch is not None
        (place / "best").mkdir()
        (place / "best" / "arch.json").write_text(results.best.arch.json)
    (place / "trusted").mkdir()
    (place / "planted.py").rename(place / "trusted" / "planted.py")
    mark = f"from pathlib import Path\nPath({str(place / 'it ran')!r}).touch()\n"
    (place / "planted.py").write_text(mark + block_file("Planted"))
    return place


@pytest.fixture(autouse=True)
def _nothing_ran(place: Path) -> Iterator[None]:
    with process():
        yield
    assert not (place / "it ran").exists()


def test_the_file_would_leave_a_mark(place: Path, tmp_path: Path) -> None:
    """Else this file would test nothing."""
    use_blocks(place / "planted.py")
    (place / "it ran").rename(tmp_path / "it ran")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("top", "mine"), "the blocks ['planted'] are not known here"),
        (("report", "mine", "--out", "{out}"), "wrote {out}"),
        (("ledger",), "trainings"),
        (("ledger", "trainings"), "the last 4 of 4 rows"),
        (("ledger", "architectures", "--csv", "{out}"), "wrote architectures to {out}"),
    ],
)
def test_tables_show_what_is_stored(command: tuple[str, ...], said: str, place: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    done = hadnas(*(part.format(out=out) for part in command), "--home", place / "runs")
    assert done.exit_code == 0 and said.format(out=out) in done.output, done.output
    if command[0] == "report":
        page = (tmp_path / "out").read_text()
        assert "Its code is not shown: the blocks" in page and "planted" in page


@pytest.mark.parametrize(
    "command",
    [
        ("export", "mine", "--out", "{out}"),
        ("finals", "mine"),
        ("products", "mine"),
        ("proxies", "mine"),
        ("predict", "mine"),
        ("predict", "mine", "--arch", "{best}"),
    ],
)
def test_what_builds_says_what_to_pass(command: tuple[str, ...], place: Path, tmp_path: Path) -> None:
    places = {"out": tmp_path / "out", "best": place / "best"}
    done = hadnas(*(part.format(**places) for part in command), "--home", place / "runs")
    said = "error: study 'mine': the blocks ['planted'] are not known here: name the file that defines them with "
    assert done.exit_code == 2 and done.output.splitlines()[-1].startswith(f"{said}--blocks"), done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("show", "{best}"), "name that file with --blocks"),
        (("measure", "{best}"), "name that file with --blocks"),
        (("retrain", "{best}", "--data", "digits", "--out", "{out}"), "name that file with --blocks"),
        (("search", "mine", "--home", "{home}"), "`hadnas work mine` continues it"),
        (("ui", "yours", "--home", "{home}"), "unknown study 'yours' (known: mine)"),
    ],
)
def test_an_architecture_names_no_file(command: tuple[str, ...], said: str, place: Path, tmp_path: Path) -> None:
    places = {"out": tmp_path / "out", "best": place / "best", "home": place / "runs"}
    done = hadnas(*(part.format(**places) for part in command))
    assert done.exit_code == 2 and said in done.output, done.output


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("top", "mine", "--home", "{home}"), "H0 A0 C1 T0"),
        (("products", "mine", "--home", "{home}"), "no product of two activations"),
        (("proxies", "mine", "--home", "{home}"), "synflow"),
        (("show", "{best}"), "H0 A0 C1 T0"),
    ],
)
def test_a_file_that_the_command_line_names_is_run(command: tuple[str, ...], said: str, place: Path) -> None:
    places = {"best": place / "best", "home": place / "runs"}
    done = hadnas(*(part.format(**places) for part in command), "--blocks", place / "trusted" / "planted.py")
    assert done.exit_code == 0 and said in done.output and "not known here" not in done.output, done.output


def test_a_program_imports_the_file_itself(place: Path) -> None:
    results = open_study("mine", place / "runs")
    assert {found.family for found in results.found} == {None}
    for build in (results.network, lambda found: results.export(found, place / "out")):
        with pytest.raises(StudyError, match="--blocks"):
            build(results.best)
    use_blocks(place / "trusted" / "planted.py")
    assert results.network(results.best) is not None and results.best.family == "convolution"


def test_a_name_in_exported_code_is_no_code() -> None:
    """A baseline may have any name, and what is exported is run: to verify it, and by whoever uses it."""
    task, name = Task.image(1, 8, 8, classes=10), 'a\\"""\nraise SystemExit("it ran")\n""""'
    text = plan_source(make_plan(pyramid((8, [residual(op("mlp"))])), task), {"baseline": name})
    module = ast.parse(text)
    assert f"baseline: {name}" in (ast.get_docstring(module, clean=False) or "")
    assert not any(isinstance(node, ast.Raise) for node in module.body)
