"""A study's winner on its way out: the card's figures, the ONNX file, MLflow's registry and server, and bad input."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from mlflow import MlflowClient, pyfunc
from mlflow.models import get_model_info
from optuna.trial import TrialState, create_trial

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import BuildError, StudyError
from hadnas.exporter.deliver import facts, register_export
from hadnas.exporter.folder import export
from hadnas.library import load_ops
from hadnas.measure.metrics.error import standard_error
from hadnas.opened import open_study
from hadnas.results.table import StudyResults
from hadnas.search.run import run_study
from hadnas.space import one_of, op
from hadnas.store.study import Study
from hadnas.track.registry import register_network, serve_command
from hadnas.track.server import free_port, stop
from hadnas.train.recipe import Recipe
from tests.homes import new_home
from tests.networks import block_file, pyramid, residual
from tests.shell import hadnas, process

DIGITS = Task.image(1, 8, 8, classes=10)
QUICK = Recipe(epochs=1, batch=128)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A home with a finished study, and one of which every candidate was refused."""
    home = new_home(tmp_path_factory.mktemp("home"))
    space = pyramid((8, [residual(op("star", expand=one_of(1, 2), kernel=3))]))
    shared = {"space": space, "recipe": QUICK, "trials": 1, "latency": None}
    run_study(Study(name="tiny", **shared), home, device="cpu")
    run_study(Study(name="strict", constraints={"macs": 1}, **shared), home, device="cpu")
    return open_study("tiny", home.path)


@pytest.fixture(scope="module")
def folder(results: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results.export(results.best, tmp_path_factory.mktemp("out") / "best")


@pytest.mark.slow
def test_the_card_says_what_the_study_measured(results: StudyResults, folder: Path) -> None:
    best, text = results.best, (folder / "README.md").read_text()
    accuracy, n = best.figures["val/accuracy"], best.notes["val_n"]
    error = standard_error(accuracy, n)
    for said in (
        f"| validation accuracy | {accuracy:.4f} ± {error:.4f} (one standard error, n = {n}) |",
        f"| MACs | {best.figures['macs']:,.0f} |",
        "| source | digits |",
        "| class names, in the order of the logits | 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |",
        "| epochs | 1 |",
        "| seed | 0 |",
        "| study | tiny |",
        f"| trial | {best.name} |",
        "best of 1 architectures compared on the validation images",
        "No figure here is of the test split.",
    ):
        assert said in text, said
    assert "latency" not in text and "test accuracy" not in text
    assert facts(results, best).protocol == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("strict",), "no finished trial: 2 of 2 draws (100%) were refused"),
        (("strict", "--trial", 0), "trial-0000 is pruned (macs = "),
        (("tiny", "--trial", 7), "unknown trial 7"),
    ],
)
def test_what_cannot_be_exported_is_said(
    results: StudyResults, tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    done = hadnas("export", *arguments, "--home", results.home.path, "--out", tmp_path / "out")
    assert done.exit_code == 2 and said in done.output, done.output
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_failed_trial_is_told_from_an_unknown_one(results: StudyResults, tmp_path: Path) -> None:
    """As an interrupted search leaves it in Optuna's storage."""
    results.book.add_trial(create_trial(state=TrialState.FAIL))
    failed = results.book.get_trials()[-1]
    done = hadnas("export", "tiny", "--trial", failed.number, "--home", results.home.path, "--out", tmp_path / "out")
    assert done.exit_code == 2 and f"trial {failed.number} failed: it was interrupted" in done.output, done.output
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_study_whose_blocks_are_edited_or_gone_is_not_exported(tmp_path: Path) -> None:
    """Their file is edited, then not named."""
    (mine := tmp_path / "mine.py").write_text(block_file("Scaled"))
    home, space = new_home(tmp_path / "runs"), pyramid((8, [residual(op("scaled"))]))
    own = Study(name="own", space=space, recipe=QUICK, trials=1, latency=None, source=str(mine))
    with process():
        load_ops(mine)
        run_study(own, home, device="cpu")
    mine.write_text(block_file("Scaled").replace("2 * ", "2.0 * "))  # other code, the same network
    with process():
        load_ops(mine)
        results = open_study("own", home.path)
        assert results.network(results.best) is not None
    mine.write_text(block_file("Scaled", 3))
    with process():
        done = hadnas("export", "own", "--home", home.path, "--out", tmp_path / "out", "--blocks", mine)
    assert done.exit_code == 2 and "the code of the blocks ['scaled'] of" in done.output, done.output
    assert "their validation loss is " in done.output.replace("\n", " ")
    assert "has changed since it was trained" in done.output.replace("\n", " ") and not (tmp_path / "out").exists()
    done = hadnas("export", "own", "--home", home.path, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "the blocks ['scaled'] are not known here" in done.output, done.output
    assert (
        f"with --blocks, or import it in a program (it was {mine.resolve()})" in done.output
        and not (tmp_path / "out").exists()
    )


@pytest.mark.slow
def test_code_that_is_not_the_network_is_not_written(tmp_path: Path) -> None:
    """A file of one's own, edited after its block was built: what would be exported is another network."""
    (mine := tmp_path / "edited.py").write_text(block_file("Edited"))
    load_ops(mine)
    arch = complete(pyramid((8, [residual(op("edited"))])), DIGITS)
    mine.write_text(block_file("Edited", 3))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(BuildError, match=r"logits .*difference \d"):
        export(arch, DIGITS, tmp_path / "out", force=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edited.py", "out"]


@pytest.mark.slow
def test_weights_that_are_gone_are_said(results: StudyResults, tmp_path: Path) -> None:
    weights = results.weights(results.best)
    weights.rename(kept := weights.with_suffix(".kept"))
    done = hadnas("export", "tiny", "--home", results.home.path, "--out", tmp_path / "out")
    kept.rename(weights)
    assert done.exit_code == 2 and "are missing" in done.output, done.output
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def model_uri(results: StudyResults, folder: Path) -> str:
    return register_export(results, results.best, folder)


@pytest.mark.slow
def test_a_registered_model_gives_the_logits_of_the_network(
    results: StudyResults, folder: Path, model_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model_uri == "models:/hadnas-tiny/1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", results.home.tracking_uri)
    client = MlflowClient(results.home.tracking_uri)
    version = client.get_model_version("hadnas-tiny", "1")
    assert version.run_id == results.best.run_id and version.status == "READY"
    assert len(client.get_run(version.run_id).outputs.model_outputs) == 1
    info = get_model_info(model_uri)
    assert [item.shape for item in (*info.signature.inputs, *info.signature.outputs)] == [(-1, 1, 8, 8), (-1, 10)]
    images = torch.randn(3, 1, 8, 8)
    with torch.inference_mode():
        expected = results.network(results.best)(images).numpy()
    loaded = pyfunc.load_model(model_uri)
    assert np.array_equal(loaded.predict(images.numpy()), expected)
    assert loaded.input_example.shape == (2, 1, 8, 8)
    again = register_export(
        results, results.best, folder
    )  # a second version of the same architecture, beside the first
    assert again == "models:/hadnas-tiny/2"
    assert np.array_equal(pyfunc.load_model(again).predict(images.numpy()), expected)


@pytest.mark.slow
def test_a_run_that_mlflow_lacks_is_said(results: StudyResults, folder: Path, model_uri: str) -> None:
    images = np.zeros((2, 1, 8, 8), np.float32)
    with pytest.raises(StudyError, match=r"MLflow at .*mlflow\.db"):
        register_network(
            results.home.tracking_uri,
            "0" * 32,
            "mine",
            folder,
            images,
            images,
            {"hadnas.fingerprint": ""},
            ["torch", "timm"],
            "classes",
        )
    client = MlflowClient(results.home.tracking_uri)
    assert [model.name for model in client.search_registered_models()] == ["hadnas-tiny"]


@pytest.mark.slow
def test_a_registered_model_is_served_without_hadnas(results: StudyResults, model_uri: str, tmp_path: Path) -> None:
    """By the command that `hadnas export --mlflow-model` prints, where hadnas cannot be imported."""
    (tmp_path / "hadnas").mkdir()
    (tmp_path / "hadnas" / "__init__.py").write_text("raise ImportError('hadnas is blocked')")
    images = torch.randn(3, 1, 8, 8)
    with torch.inference_mode():
        expected = results.network(results.best)(images).numpy()
    with served(serve_command(results.home.tracking_uri, model_uri, port := free_port(5001)), tmp_path) as process:
        question = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": images.tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        answer = None
        while answer is None:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                answer = json.loads(urllib.request.urlopen(question, timeout=60).read())
            except (URLError, ConnectionError):
                time.sleep(1)
    assert np.abs(np.array(answer["predictions"]) - expected).max() <= 1e-5


@contextmanager
def served(command: str, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command of a shell in a session of its own, ended with all its children."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(place),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(
            command, shell=True, cwd=place, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        stop(process)
