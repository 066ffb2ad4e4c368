"""A damaged row is said with its place; what is whole beside it is read."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hadnas.errors import HadnasError, StudyError
from hadnas.measure.latency.latency import protocol, protocol_key
from hadnas.opened import open_study
from hadnas.results.finals.finals import read_finals
from hadnas.search.finals import run_finals
from hadnas.search.latency.predictor import digest, load_predictor
from hadnas.search.run import run_study
from hadnas.store.home import Home
from tests.homes import new_home, study
from tests.networks import TINY_SPACE, pyramid, residual
from tests.shell import hadnas

BASE = pyramid((8, [residual({"op": "mlp"})]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a study of three trials and a baseline, and finals of it."""
    home = new_home(tmp_path_factory.mktemp("whole"))
    run_study(study(baselines={"base": BASE}, sampler="random"), home)
    run_finals("tiny", home, seeds=2, top=1, candidates=0)
    return home.path


@pytest.fixture
def home(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "home"))


def hurt(home: Path, command: str, *values: Any) -> None:
    with closing(sqlite3.connect(home / "hadnas.db")) as database:
        assert database.execute(command, values).rowcount > 0
        database.commit()


TRIAL = "update trial_user_attributes set value_json = {} where trial_id = 2 and key = '{}'"
STUDY = "update study_user_attributes set value_json = {} where key = '{}'"
TRIALS = {
    "no JSON": (TRIAL.format("'{'", "figures"), "trial 1 is damaged (JSONDecodeError"),
    "figures that are none": (TRIAL.format("'[]'", "figures"), "trial 1 is damaged: figures = []"),
    "a figure that is text": (TRIAL.format("json_set(value_json, '$.macs', 'x')", "figures"), "macs"),
    "a figure that lacks": (
        TRIAL.format("json_remove(value_json, '$.products')", "figures"),
        "products: field required",
    ),
    "an accuracy of 7": (
        TRIAL.format("""json_set(value_json, '$."val/accuracy"', 7)""", "figures"),
        "val/accuracy = 7",
    ),
    "images that are none": (TRIAL.format("json_set(value_json, '$.val_n', 0)", "notes"), "val_n = 0"),
    "a place that is none": (TRIAL.format("json_set(value_json, '$.weights', 5)", "notes"), "notes.weights = 5"),
    "a fingerprint that is none": (TRIAL.format("'5'", "fingerprint"), "fingerprint = 5"),
    "another fingerprint": (TRIAL.format("'\"0123\"'", "fingerprint"), "its architecture 0123 is not in the ledger"),
    "a constraint that is none": (
        "update trial_system_attributes set value_json = '\"x\"' where trial_id = 2 and key = 'constraints:trains'",
        "constraints.trains = 'x'",
    ),
    "an answer that is none": (
        "update trial_params set distribution_json = replace(distribution_json, 'mlp', 'se') where trial_id = 2",
        "is not allowed",
    ),
    "a distribution that is none": (
        "update trial_params set distribution_json = '{}' where trial_id = 2",
        "trial 1 is damaged (KeyError",
    ),
    "a state that is none": ("update trials set state = 'BOGUS' where trial_id = 2", "trial 1 is damaged (LookupError"),
    "a time that is none": (
        "update trials set datetime_start = 'x' where trial_id = 2",
        "trial 1 is damaged (ValueError",
    ),
}
TEXTS = ["", "{", "null", "[]", '{"format": 1, "op": ["x"]}', "[" * 2000, b"\xff\xfe", 5]


def test_what_is_whole_is_read(home: Path) -> None:
    results = open_study("tiny", home)
    assert not results.damaged and len(results.found) == 3 and len(results.baselines) == 1
    assert len(read_finals(results)) > 1


@pytest.mark.parametrize(("command", "said"), TRIALS.values(), ids=TRIALS)
def test_a_damaged_trial_is_said_and_the_others_are_shown(home: Path, command: str, said: str) -> None:
    hurt(home, command)
    results = open_study("tiny", home)
    (found,) = results.damaged
    assert found.name == "trial-0001" and said in (found.reason or "")
    assert {each.name for each in results.ranked} == {"trial-0000", "trial-0002"}
    assert list(results.trials["state"]) == ["complete", "damaged", "complete", "complete"]


@pytest.mark.parametrize("name", ["no JSON", "a figure that lacks"])
def test_every_command_says_a_damaged_trial(home: Path, name: str) -> None:
    hurt(home, TRIALS[name][0])
    shown = hadnas("top", "tiny", "--home", home)
    assert shown.exit_code == 0, shown.output
    assert "trial-0001 is damaged and left out" in shown.output and "trial-0002" in shown.output
    for command in (("export", "tiny", "--trial", 1, "--out", home / "out"), ("products", "tiny", "--trial", 1)):
        done = hadnas(*command, "--home", home)
        assert done.exit_code == 2 and "trial-0001 is damaged" in done.output
    written = hadnas("report", "tiny", "--home", home, "--out", home / "page.html")
    assert written.exit_code == 0 and "trial-0001 is damaged and left out" in (home / "page.html").read_text()


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text)[:12])
def test_a_damaged_architecture_takes_its_trial_only(home: Path, text: Any) -> None:
    fingerprint = open_study("tiny", home).found[1].arch.fingerprint  # type: ignore[union-attr]
    hurt(home, "update hadnas_architecture set arch = ? where fingerprint = ?", text, fingerprint)
    results = open_study("tiny", home)
    assert [found.name for found in results.damaged] == ["trial-0001"] and len(results.ranked) == 2


@pytest.mark.parametrize(
    "value",
    ["json_set(value_json, '$.figures', 5)", "json_set(value_json, '$.fingerprint', 'x')", """'{"figures": {}}'"""],
)
def test_a_damaged_baseline_is_said(home: Path, value: str) -> None:
    hurt(home, STUDY.format(value, "baseline:base"))
    results = open_study("tiny", home)
    assert [found.name for found in results.damaged] == ["base"] and len(results.ranked) == 3
    assert "base" not in {found.name for found in results.baselines if found.feasible}


@pytest.mark.parametrize(
    ("value", "key", "said"),
    [
        ("'{'", "study", "study 'tiny' is damaged"),
        ("'5'", "study", "study = 5"),
        *(
            (f"json_remove(value_json, '$.{name}')", "study", f"study.{name}: field required")
            for name in ("shape", "classes", "digest", "mean", "data")
        ),
        ("json_set(value_json, '$.shape', json('[1, 0, 8]'))", "study", "study.shape.1 = 0"),
        ("json_set(value_json, '$.space', json('{\"op\": {\"one_of\": 5}}'))", "study", "op: found {'one_of': 5}"),
        ("json_set(value_json, '$.recipe', 5)", "study", "recipe = 5"),
        ("json_set(value_json, '$.trials', 'x')", "study", "trials = 'x'"),
        ("'5'", "finals", "finals = 5"),
        ("json_set(value_json, '$[0].keys', json('[]'))", "finals", "finals.0.keys = []"),
        ("json_set(value_json, '$[0].keys[0].seed', 'x')", "finals", "finals.0.keys.0.seed = 'x'"),
        ("'5'", "test_opened_for", "test_opened_for = 5"),
        ("'5'", "baseline:base", "baseline:base is damaged"),
    ],
)
def test_a_damaged_study_is_one_sentence(home: Path, value: str, key: str, said: str) -> None:
    hurt(home, STUDY.format(value, key))
    done = hadnas("top", "tiny", "--home", home)
    assert done.exit_code == 2 and said in done.output and "damaged" in done.output, done.output
    assert len(done.output.strip().splitlines()) == 1


def test_a_search_goes_on_with_no_damaged_trial(home: Path) -> None:
    hurt(home, TRIAL.format("json_remove(value_json, '$.macs')", "figures"))
    with pytest.raises(StudyError, match=r"study 'tiny': trial 1 is damaged: macs: field required"):
        run_study(study(baselines={"base": BASE}, sampler="random", trials=4), Home(home))


def test_another_damaged_study_does_not_matter(home: Path) -> None:
    run_study(study(name="other", trials=1), Home(home))
    hurt(home, STUDY.format("'{'", "study") + " and study_id = 1")
    assert open_study("other", home).best.name == "trial-0000"


@pytest.mark.parametrize(
    ("command", "tables"),
    [
        ("update hadnas_training set versions = '{'", ["trainings"]),
        ("update hadnas_training set val_accuracy = 'x', seconds = 'y'", []),
        ("update hadnas_cost set macs = 'x'", []),
        ("update hadnas_test set hits = '012'", []),
        ("update hadnas_test set hits = '01' where training = (select min(training) from hadnas_test)", []),
    ],
)
def test_damaged_rows_of_the_ledger_are_said(home: Path, command: str, tables: list[str]) -> None:
    hurt(home, command)
    for table in ("trainings", "costs", "tests"):
        done = hadnas("ledger", table, "--home", home)
        assert done.exit_code == (2 if table in tables else 0), done.output
        assert table not in tables or "a row of the ledger is damaged" in done.output
    results = open_study("tiny", home)
    if "hadnas_training" not in command:
        with pytest.raises(HadnasError, match="damaged"):
            read_finals(results)
    else:
        with pytest.raises(HadnasError, match="damaged"):
            results.ledger.trainings()


@pytest.mark.parametrize("fit", ["{", "5", "{}", '{"shares": 5}'])
def test_a_damaged_predictor_is_said(home: Path, fit: str) -> None:
    results = open_study("tiny", home)
    key = protocol_key(protocol(results.task().shape))
    results.ledger.measured.put_predictor(digest(TINY_SPACE), str(results.task()), key, {}, {})
    hurt(home, "update hadnas_predictor set fit = ?", fit)
    with pytest.raises(StudyError, match="damaged"):
        load_predictor(TINY_SPACE, results.task(), results.ledger)
    assert hadnas("ledger", "predictors", "--home", home).exit_code == (2 if fit == "{" else 0)
