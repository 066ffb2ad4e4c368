"""Bad input gets one clear sentence and exit code 2, before any work starts."""

from pathlib import Path

import pytest

from tests.shell import hadnas


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search", "digts"), "unknown study, search space or architecture 'digts'; did you mean 'digits'"),
        (("search", "nowhere.py"), "there is no file nowhere.py"),
        (("search", "digits", "--sampler", "tpee"), "unknown sampler 'tpee'; did you mean 'tpe'"),
        (("search", "digits", "--max-macs", "many"), "--max-macs 'many' is not allowed"),
        (("search", "digits", "--max-latency", "0ms"), "--max-latency '0ms' is not allowed"),
        (("search", "digits", "--max-latency", "5m"), "'5m' is not allowed; allowed is a number of milliseconds"),
        (("search", "digits", "--data", "nowhere.npz"), "nowhere.npz"),
        (("search", "digits", "--data", "nowhere/"), "nowhere"),
        (("search", "digits", "--data", ""), "--data is empty"),
        (("search", "digits", "--name", "a/b"), "name = 'a/b' is not allowed"),
        (("search", "digits", "--trials", "0"), "'--trials'"),
        (("search", "digits", "--device", "tpu"), "device 'tpu' is not on this machine"),
        (("search", "digits", "--trails", "3"), "No such option"),
        (("top", "nothing"), "there is no study in"),
        (("ledger",), "there is no study in"),
        (("export", "nothing", "--out", "x"), "hadnas.db is missing; --home or HADNAS_HOME names a home"),
        (("ui", "nothing"), "unknown study 'nothing'"),
        (("show", "strar"), "did you mean 'star'"),
        (("copy", "four_familie"), "did you mean 'four_families'"),
        (("copy", "digits", "--to", "nowhere/at/all"), "digits.py cannot be written: No such file or directory"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADNAS_HOME", str(tmp_path / "runs"))
    done = hadnas(*arguments)
    assert done.exit_code == 2, done.output
    assert message in done.output.replace("\n", " ")
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SPACE = 3", "is of type int; allowed are STUDY"),
        ("from hadnas import one_of\nSPACE = {'op': one_of()}", "one_of() got no options"),
        ("from hadnas import one_of\nSPACE = {'op': one_of(1, 1)}", "twice"),
        ("1 / 0", "the file cannot be run: ZeroDivisionError"),
        ("import nowhere_beside_it", "the file cannot be run: ModuleNotFoundError"),
        (
            "from hadnas import Study\nSTUDY = Study(space={}, trails=3)",
            "unknown option 'trails'; did you mean 'trials'",
        ),
        ("from hadnas import Study\nSTUDY = Study(space={}, trials='x')", "trials = 'x' is not allowed"),
        ("from hadnas import Study\nSTUDY = Study(space={}, recipe={'epochs': 0})", "recipe.epochs = 0 is not allowed"),
        ("SPACE = {'op': 'pyramyd'}", "did you mean 'pyramid'"),
    ],
)
def test_a_faulty_file_gets_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(text)
    done = hadnas("search", tmp_path / "faulty.py", "--home", tmp_path / "runs")
    assert done.exit_code == 2, done.output
    assert message in done.output.replace("\n", " ")
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"format": 2, "op": "pyramid"}', "format 2 is later than 1"),
        ('{"op": "os.system"}', "unknown"),
    ],
)
def test_a_faulty_architecture_file_gets_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.json").write_text(text)
    done = hadnas("show", tmp_path / "faulty.json")
    assert done.exit_code == 2 and message in done.output.replace("\n", " ")


def test_a_file_whose_name_cannot_name_a_study_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "my space.py").write_text("SPACE = {'op': 'pyramid'}")
    done = hadnas("search", tmp_path / "my space.py", "--home", tmp_path / "runs")
    assert done.exit_code == 2 and "name = 'my space' is not allowed" in done.output.replace("\n", " ")


def test_an_unwritable_home_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = hadnas("search", "digits", "--home", tmp_path / "file" / "runs")
    assert done.exit_code == 2 and "cannot be written" in done.output
