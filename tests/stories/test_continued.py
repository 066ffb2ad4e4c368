"""A candidate whose training was cut short goes on from its checkpoint, to the same figures and weights."""

import logging
import subprocess
import sys
import time
from dataclasses import astuple
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hadnas.hosts.host import Plan, make_plan
from hadnas.opened import open_study
from hadnas.paths import sha256_of
from hadnas.search.evaluator import Evaluator
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.store.home import Home, checkpoint_of
from hadnas.store.ledger import Ledger
from hadnas.store.records import Training
from hadnas.store.study import Study
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import Epoch
from tests.homes import Unseen, new_home, study
from tests.networks import TINY_SPACE, pyramid

RECIPE = Recipe(epochs=3, batch=512, mixup=0.2, ema=0.9)


class Stopped(Unseen):
    """Notes the epochs that are shown, and interrupts after one of them."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.epochs = at, list[int]()

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch.epoch)
        if epoch.epoch == self.at:
            raise KeyboardInterrupt


def opened(path: Path, recipe: Recipe = RECIPE) -> tuple[Evaluator, Plan]:
    home = Home(path)
    chosen = Study(name="tiny", space=TINY_SPACE, recipe=recipe, latency=None)
    evaluator = Evaluator(chosen, load_data("digits"), home, Ledger(home.url), "cpu")
    return evaluator, make_plan(pyramid((8, [])), evaluator.task)


def points(training: Training, attempt: int, *, seconds: bool = False) -> list[tuple[object, ...]]:
    """The curve of one attempt; measured seconds are its fingerprint: no epoch takes as long as another."""
    found = [point for point in training.curve if point.attempt == attempt]
    return [astuple(point)[1 : 6 if seconds else 5] for point in found]


@pytest.mark.parametrize("stop", [2, 3])
def test_an_interrupted_training_goes_on_after_its_last_epoch(tmp_path: Path, stop: int) -> None:
    through, plan = opened(tmp_path / "through")
    expected = through.evaluate(plan, Unseen(), held=False).training
    evaluator, plan = opened(tmp_path / "stopped")
    file = checkpoint_of(evaluator.key(plan), evaluator.home)
    with pytest.raises(KeyboardInterrupt):
        evaluator.evaluate(plan, Stopped(stop), held=False)
    assert file.exists() and [path.name for path in file.parent.iterdir()] == [file.name]
    shown = Stopped()
    outcome = evaluator.evaluate(plan, shown, held=False)
    training = outcome.training
    assert training is not None and expected is not None and training.attempt == 2
    assert shown.epochs == [1, 2, 3] and not file.exists()
    first, second = (points(training, attempt, seconds=True) for attempt in (1, 2))
    assert second[:stop] == first and len(second) == 3
    assert points(training, 2) == points(expected, 1)
    assert (training.metrics["accuracy"], training.val_loss) == (expected.metrics["accuracy"], expected.val_loss)
    assert training.weights_sha256 == expected.weights_sha256
    assert training.seconds is not None and training.seconds > sum(float(str(point[-1])) for point in second)
    through.ledger.close(), evaluator.ledger.close()


def test_a_damaged_checkpoint_is_logged_and_the_training_starts_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluator, plan = opened(tmp_path)
    file = checkpoint_of(evaluator.key(plan), evaluator.home)
    with pytest.raises(KeyboardInterrupt):
        evaluator.evaluate(plan, Stopped(2), held=False)
    file.write_bytes(file.read_bytes()[:-100])
    file.with_name(f"{file.name}.part").touch()
    with caplog.at_level(logging.WARNING):
        training = evaluator.evaluate(plan, Unseen(), held=False).training
    assert f"{file} cannot be read" in caplog.text and "starts again" in caplog.text
    assert training is not None and points(training, 2)[:2] == points(training, 1)
    assert points(training, 2, seconds=True)[:2] != points(training, 1, seconds=True)
    assert not any(file.parent.iterdir())
    evaluator.ledger.close()


def test_a_training_that_failed_leaves_no_checkpoint(tmp_path: Path) -> None:
    evaluator, plan = opened(tmp_path, Recipe(epochs=3, batch=512, optimizer="sgd", lr=1e38, clip_grad=None))
    file = checkpoint_of(evaluator.key(plan), evaluator.home)
    file.parent.mkdir()
    file.touch()
    assert "diverged" in evaluator.evaluate(plan, Unseen(), held=False).reason
    assert not file.exists()
    evaluator.ledger.close()


def test_a_training_taken_over_and_given_back_is_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a worker whose machine slept: in one run of MLflow each epoch has one point."""
    monkeypatch.setattr("hadnas.search.evaluate.CHECKPOINT_EVERY", 0.0)
    home = new_home(tmp_path)
    taken: list[str] = []

    def sleep(progress: Progress) -> None:
        if (progress.phase, progress.epoch) == ("train", 2) and not taken:
            other = Ledger(home.url, stale=-1.0)  # for which every heartbeat is long ago
            (training,) = other.trainings()
            claim = other.claim(training.key, "another")
            taken.append(claim.status)
            other.release(claim)
            other.close()

    assert run_study(study(trials=1, recipe=RECIPE), home, watch=sleep).done == 1 and taken == ["mine"]
    (found,) = open_study("tiny", tmp_path).found
    (training,) = open_study("tiny", tmp_path).ledger.trainings()
    assert points(training, 3, seconds=True)[:2] == points(training, 1, seconds=True)
    history = MlflowClient(home.tracking_uri).get_metric_history(str(found.run_id), "train/loss")
    assert [point.step for point in history] == [1, 2, 3]
    assert not any((tmp_path / "checkpoints").iterdir())


SEARCH = """
import sys
import hadnas.search.evaluate
from hadnas.shell.cli import main
hadnas.search.evaluate.CHECKPOINT_EVERY = 0.0  # in this process, so that one searches, without workers
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_in_the_middle_of_a_training(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from hadnas import Recipe, Study\nfrom tests.networks import TINY_SPACE\n"
        "STUDY = Study(name='tiny', space=TINY_SPACE, trials=1, latency=None,"
        " recipe=Recipe(epochs=40, batch=64, mixup=0.2, ema=0.9))\n"
    )
    homes = [new_home(tmp_path / name) for name in ("through", "killed")]
    search_here = [sys.executable, "-c", SEARCH, "search", str(file), "--workers", "0", "--home"]
    commands = [[*search_here, str(home.path)] for home in homes]
    subprocess.run(commands[0], check=True, capture_output=True)
    with subprocess.Popen(commands[1], stderr=subprocess.PIPE) as search:
        saved = homes[1].path / "checkpoints"
        while search.poll() is None and not (saved.exists() and any(saved.glob("*.pt"))):
            time.sleep(0.01)
        search.kill()
    assert len(list(saved.glob("*.pt"))) == 1
    subprocess.run(commands[1], check=True, capture_output=True)
    through, killed = (open_study("tiny", home.path).ledger.trainings()[0] for home in homes)
    assert (through.attempt, killed.attempt, killed.state) == (1, 2, "complete")
    first, second = (points(killed, attempt, seconds=True) for attempt in (1, 2))
    taken_over = [point for point in first if point in second]
    assert 0 < len(taken_over) < 40 and len(second) == 40
    assert points(killed, 2) == points(through, 1)
    assert killed.weights_sha256 == through.weights_sha256
    assert sha256_of(homes[1].path / str(killed.weights)) == sha256_of(homes[0].path / str(through.weights))
    assert not any(saved.iterdir())
