"""Bad input gets one clear sentence and exit code 2, before any work starts."""

import os
from pathlib import Path

import pytest
from click.testing import Result

from hadnas.library import shipped
from tests.shell import hadnas


def sentence(done: Result) -> str:
    """What a command says that ends with 2: one line, after click's two on how to use it, where these are."""
    assert done.exit_code == 2, (done.output, done.exception)
    *usage, said = done.output.strip().splitlines()
    assert said.startswith(("error: ", "Error: ")), done.output
    assert not usage or usage[0].startswith("Usage: "), done.output
    return said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search", "digts"), "unknown study, search space or architecture 'digts'; did you mean 'digits'"),
        (("search", "nowhere.py"), "there is no file nowhere.py"),
        (("search", "digits", "--sampler", "tpee"), "unknown sampler 'tpee'; did you mean 'tpe'"),
        (("search", "digits", "--max-macs", "many"), "--max-macs 'many' is not allowed"),
        (("search", "digits", "--max-latency", "0ms"), "--max-latency '0ms' is not allowed"),
        (
            ("search", "digits", "--max-latency", "5m"),
            "'5m' is not allowed; allowed is a number above 0, in ms, such as 2.5ms",
        ),
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


DIGITS, MANY, LONG = "9" * 20, "9" * 5000, "a" * 300
ARCH = shipped("published")[0]
SEARCH, MEASURE = ("search", "digits"), ("measure", ARCH)
RETRAIN = ("retrain", ARCH, "--data", "digits", "--out", "out")
NUMBERS = {
    **{(*SEARCH, option): ("-1", "1.5", DIGITS, MANY) for option in ("--seed", "--epochs", "--batch", "--size")},
    (*SEARCH, "--trials"): ("-1", "0", DIGITS, MANY),
    **{(*RETRAIN, option): (DIGITS, MANY) for option in ("--seed", "--split-seed", "--epochs", "--batch", "--size")},
    **{(*RETRAIN, option): ("nan", "inf", "-1") for option in ("--lr", "--mixup", "--ema", "--label-smoothing")},
    **{(*RETRAIN, "--augment", "timm", option): ("nan", "2") for option in ("--hflip", "--color-jitter")},
    **{(*MEASURE, option): ("0", DIGITS, MANY) for option in ("--batch", "--classes", "--threads")},
    (*RETRAIN, "--split-seed", "0", "--split-seed"): (str(2**32),),
    (*SEARCH, "--max-macs"): ("nan", "1e400", MANY, "-5", "5k5"),
    (*MEASURE, "--size"): ("", "3x224", "0x1x1", "1048577x1x1", f"{DIGITS}x2x2", f"{MANY}x1x1", "\u0663x32x32"),
    (*MEASURE, "--seconds"): ("0", "nan", "inf", "1e9"),
    (*SEARCH, "--ray", "--cpus"): ("0", "nan", "-1"),
    (*SEARCH, "--ray", "--gpus"): ("nan", "-1"),
    **{(*SEARCH, option): ("1",) for option in ("--cpus", "--gpus")},  # without --ray
    ("top", "nothing", "-n"): ("0", DIGITS),
    ("ledger", "-n"): ("0", DIGITS),
    ("finals", "nothing", "--seeds"): ("0", "1001", DIGITS),
    ("finals", "nothing", "--candidates"): ("-1", DIGITS),
    ("products", "nothing", "--trial"): ("-1", DIGITS),
    ("export", "nothing", "--out", "out", "--trial"): ("-1", DIGITS),
    ("predict", "nothing", "-n"): ("99", DIGITS),
    ("predict", "nothing", "--seed"): (str(2**32),),
    ("ui", "--port"): ("0", "65536", "abc", DIGITS),
}


@pytest.mark.parametrize(
    ("command", "number"), [(command, number) for command, numbers in NUMBERS.items() for number in numbers]
)
def test_a_number_out_of_bounds_is_refused(
    command: tuple[str, ...], number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HADNAS_HOME", str(tmp_path / "runs"))
    said = sentence(hadnas(*command, number))
    assert command[-1] in said or command[-1].strip("-").replace("-", "_") in said
    assert not any(tmp_path.iterdir())


PATHS = [
    ("show",),
    ("check",),
    ("measure",),
    ("measure", ARCH, "--blocks"),
    ("search",),
    ("search", "digits", "--home"),
    ("top", "nothing", "--home"),
    ("copy", "digits", "--to"),
    ("report", "nothing", "--out"),
    ("ledger", "--csv"),
    ("export", "nothing", "--out"),
    ("retrain", ARCH, "--data", "digits", "--out"),
    ("retrain", ARCH, "--data", "digits", "--out", "out", "--weights"),
]


@pytest.mark.parametrize("path", [LONG, f"{LONG}.json", f"{LONG}.py", "~nobody-of-this-name/x", "loop", "nul\0"])
@pytest.mark.parametrize("command", PATHS, ids=" ".join)
def test_what_can_be_no_path_is_refused(
    command: tuple[str, ...], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", tmp_path / "loop")
    assert f"the path {path[:100]!r}"[:50] in sentence(hadnas(*command, path))


def test_data_that_are_nowhere_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "the path is empty" in sentence(hadnas("retrain", ARCH, "--data", "", "--out", "out"))
    os.symlink("loop", tmp_path / "loop")
    for data in ("loop", "."):
        assert "loop" in sentence(hadnas("retrain", ARCH, "--data", data, "--out", "out"))


def test_an_empty_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (("copy", "digits", "--to"), ("measure",), ("retrain", ARCH, "--data", "digits", "--out")):
        assert "the path is empty" in sentence(hadnas(*command, ""))


@pytest.mark.parametrize("port", ["abc", "5x", "\u00b2"])
def test_a_storage_whose_port_is_no_number_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADNAS_STORAGE", f"postgresql://user:secret@127.0.0.1:{port}/name")
    said = sentence(hadnas("top", "mine"))
    assert "secret" not in said and "postgresql://user@host:port/name" in said


@pytest.mark.parametrize(
    ("size", "more", "message"),
    [
        ("3x1048576x1048576", (), "memory for the forward of a batch of 1:"),
        ("3x32x32", ("--batch", 10**9), "memory for the forward of a batch of 1000000000:"),
    ],
)
def test_what_does_not_fit_into_memory_is_not_tried(size: str, more: tuple[object, ...], message: str) -> None:
    done = hadnas("measure", "convnext_atto", "--size", size, "--batch", 1, *more)
    assert message in sentence(done) and "this machine has" in done.output


def test_an_architecture_that_does_not_fit_into_memory_is_not_built(tmp_path: Path) -> None:
    wide = (
        '{"op": "pyramid", "stem": {"op": "conv_norm", "dim": 1000000}, "head": {"op": "pooled_linear"}, '
        '"stages": [{"dim": 1000000, "down": null, "blocks": [{"op": "mlp"}]}]}'
    )
    (tmp_path / "wide.json").write_text(wide)
    for command in (("measure", tmp_path / "wide.json"), ("retrain", tmp_path / "wide.json", *RETRAIN[2:])):
        assert "memory for the network's weights:" in sentence(hadnas(*command))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("def f(): f()\nf()", "RecursionError"),
        ("raise ValueError('one\\ntwo\\nthree')", "ValueError: one"),
        ("SPACE = {'op': 'pyramid'}\nSPACE['self'] = SPACE", "deeper than 100 levels"),
        ("SPACE = {'op': 'pyramid', 5: 6}", "found 5; allowed: a key that is a string"),
        ("SPACE = {'op': 'pyramid', 'x': {1}}", "x: found {1}; allowed: dicts, lists"),
        ("from hadnas import *\nSTUDY = Study(space={}, trials=10**5000)", "trials: found an integer of 16610 bits"),
        ("from hadnas import *\nSTUDY = Study(space={}, trials=10**10)", "trials = 10000000000 is not allowed"),
        ("from hadnas import *\nSTUDY = Study(space={}, seed=2**63 - 1)", "seed = 9223372036854775807 is not allowed"),
        ("from hadnas import *\nSTUDY = Study(space={}, recipe=Recipe(epochs=10**10))", "epochs = 10000000000 is not"),
        ("from hadnas import *\nSTUDY = Study(space={}, recipe=Recipe(lr=float('nan')))", "lr: found nan; allowed"),
        (
            "from hadnas import *\nSTUDY = Study(space={}, constraints={'macs': float('inf')})",
            "macs: found inf;",
        ),
        ("from hadnas import *\nSPACE = op('pyramid', stages=repeat(1, 10**9))", "times=1000000000; allowed is an"),
        ("from hadnas import *\nSPACE = op('pyramid', stages=int_range(1, 10**15))", "has more than 10,000 numbers"),
        (
            "from hadnas import *\nx = 1\nfor i in range(2000): x = one_of(x, f'a{i}')\nSPACE = op('pyramid', stem=x)",
            "deeper than 100 levels",
        ),
        (
            "SPACE = {'op': 'pyramid', 'stem': {'one_of': 5, 'name': None}}",
            "stem: found {'one_of': 5, 'name': None};",
        ),
        ("SPACE = {'op': 'pyramid', 'stem': {'one_of': [1]}}", "stem: found {'one_of': [1]}; a choice is"),
        ("SPACE = {'op': 'pyramid', 'stem': {'int_range': [1], 'name': None}}", "[low, high, step]"),
        ("SPACE = {'op': 'pyramid', 'stem': {'int_range': 'abc', 'name': None}}", "[low, high, step]"),
        ("SPACE = {'op': 'pyramid', 'stem': {'repeat': 1, 'times': [1]}}", "times=[1]; allowed is an integer"),
        ("SPACE = {'op': 'pyramid', 'stem': {'repeat': 1}}", "'times': 'an integer or a choice'"),
    ],
)
def test_a_file_that_cannot_be_a_space_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(text)
    for command in ("show", "search"):
        assert message in sentence(hadnas(command, tmp_path / "faulty.py"))
