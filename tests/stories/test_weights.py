"""Weights that are not as their training wrote them are not used."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sqlalchemy import text

from hadnas.errors import StudyError
from hadnas.opened import open_study
from hadnas.paths import sha256_of
from hadnas.results.finals.finals import openings
from hadnas.results.table import StudyResults
from hadnas.search.finals import run_finals
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.store.database import open_engine
from tests.homes import new_home, study
from tests.shell import hadnas


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    home = new_home(tmp_path_factory.mktemp("home"))
    run_study(study(trials=1), home, device="cpu")
    return open_study("tiny", home.path)


@pytest.fixture
def zeros(results: StudyResults, request: pytest.FixtureRequest) -> Path:
    """The weights of the study's best, overwritten with zeros for the time of one test."""
    path = results.weights(results.best)
    before = path.read_bytes()
    request.addfinalizer(lambda: path.write_bytes(before))
    overwrite(path)
    return path


def overwrite(path: Path) -> None:
    save_file({key: torch.zeros_like(value) for key, value in load_file(path).items()}, path)


def test_the_ledger_keeps_the_hash_of_every_file(results: StudyResults) -> None:
    training = results.training(results.best)
    assert training is not None and training.weights_sha256 == sha256_of(results.weights(results.best))


@pytest.mark.parametrize("command", ["export", "products"])
def test_weights_that_changed_are_refused(command: str, results: StudyResults, zeros: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out") if command == "export" else ()
    done = hadnas(command, "tiny", "--home", results.home.path, *out)
    assert done.exit_code == 2 and done.output.splitlines()[-1].startswith(f"error: {results.best.name}: the weights ")
    assert f"{zeros} have changed since they were trained" in done.output and not (tmp_path / "out").exists()
    with pytest.raises(StudyError, match="have changed since they were trained"):
        results.network(results.best)


def test_weights_that_are_gone_are_named(results: StudyResults, zeros: Path) -> None:
    zeros.unlink()
    with pytest.raises(StudyError, match=rf"^{results.best.name}: .*{zeros}"):
        results.network(results.best)


def test_weights_of_before_hashes_are_taken_as_they_are(results: StudyResults, zeros: Path) -> None:
    written = sha256_of(zeros)
    engine = open_engine(results.home.url)
    with engine.begin() as connection:
        known = connection.execute(text("select weights_sha256 from hadnas_training")).scalar_one()
        connection.execute(text("update hadnas_training set weights_sha256 = null"))
    assert sha256_of(results.weights(results.best)) == written != known
    with engine.begin() as connection:
        connection.execute(text("update hadnas_training set weights_sha256 = :known"), {"known": known})
    engine.dispose()


def test_the_test_split_is_not_opened_for_weights_that_changed(results: StudyResults) -> None:
    """Those of the finals' first seed are overwritten while the second trains."""
    searched = set(results.home.path.glob("tiny/weights/*"))

    def watch(progress: Progress) -> None:
        for path in set(results.home.path.glob("tiny/weights/*.safetensors")) - searched:
            overwrite(path)

    with pytest.raises(StudyError, match="have changed since they were trained"):
        run_finals("tiny", results.home, seeds=2, top=1, candidates=0, device="cpu", watch=watch)
    assert openings(open_study("tiny", results.home.path)) == 0
