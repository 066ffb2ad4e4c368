"""One evaluation of a candidate: what is asked of the ledger, what is refused, and what may be tried again."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hadnas.blocks.registry import isolated
from hadnas.errors import DataError, MachineError, StudyError
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.screen import Screen as Screened
from hadnas.measure.screen import screen
from hadnas.search.evaluator import Evaluator
from hadnas.source.user_file import run_file
from hadnas.space import one_of, op
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.listing import rows
from hadnas.store.study import Study
from hadnas.store.study_store import open_trials, stored_study
from hadnas.train.data.images import Split
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from tests.homes import Unseen
from tests.networks import TINY_SPACE, block_file, pyramid, residual

STUDY = Study(name="tiny", space=TINY_SPACE, recipe=Recipe(epochs=1, batch=512), latency=None)


def made(study: Study, path: Path) -> tuple[Evaluator, Plan]:
    """An evaluator in a fresh home, and a plain candidate that its ledger knows."""
    home = Home(path)
    evaluator = Evaluator(study, load_data("digits"), home, Ledger(home.url), "cpu")
    plan = make_plan(pyramid((8, [])), evaluator.task)
    evaluator.ledger.measured.put_architecture(plan.arch.fingerprint, plan.arch.json)
    return evaluator, plan


def test_what_another_worker_trains_is_waited_for(tmp_path: Path) -> None:
    evaluator, plan = made(STUDY, tmp_path)
    another_ledger = Ledger(evaluator.home.url)
    claim = another_ledger.claim(evaluator.key(plan), "another")
    scores = {"metrics": {"accuracy": 0.5}, "val_loss": 1.0, "val_n": 10, "seconds": 1.0}
    another = threading.Timer(0.3, another_ledger.finish, (claim,), scores)
    another.start()
    outcome = evaluator.evaluate(plan, Unseen(), held=False)
    another.join()
    assert outcome.reused and outcome.figures["val/accuracy"] == 0.5
    another_ledger.close()
    evaluator.ledger.close()


def test_cost_and_latency_of_an_edited_block_are_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files with a block of one name, as before and after an edit; the second does twice the work."""
    text = block_file("Widened")
    (tmp_path / "before.py").write_text(text)
    (tmp_path / "after.py").write_text(text.replace("self.conv(x)", "self.conv(self.conv(x))"))
    space = pyramid((8, [residual(op("widened"))]))
    timed = Study(name="own", space=space, recipe=STUDY.recipe, latency="eager")
    monkeypatch.setattr("hadnas.search.latency.timing.SECONDS", 0.01)
    macs, taken = [], []
    for file in ("before.py", "after.py"):
        with isolated():
            run_file(tmp_path / file)
            evaluator, _ = made(timed, tmp_path)
            for _ in range(2):  # the second time from the ledger
                outcome = evaluator.evaluate(make_plan(space, evaluator.task), Unseen(), held=False)
        macs.append(outcome.figures["macs"])
        taken = [row["code"] for row in rows(evaluator.ledger, "latencies")]
        evaluator.ledger.close()
    pixels = 16  # after the down-sampling of the stage
    assert macs[1] - macs[0] == 8 * 8 * pixels
    assert len(taken) == len(set(taken)) == 2


def test_one_architecture_is_timed_once_by_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hadnas.search.latency.timing.SECONDS", 0.2)
    evaluator, plan = made(STUDY, tmp_path)
    workers = [threading.Thread(target=evaluator.latency, args=(plan, "eager")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(rows(evaluator.ledger, "latencies")) == 1
    evaluator.ledger.close()


def test_weights_that_cannot_be_written_give_the_claim_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    evaluator, plan = made(STUDY, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(StudyError, match=r"safetensors.*No space"):
        patch.setattr("hadnas.hosts.build.save_file", full)
        evaluator.evaluate(plan, Unseen(), held=False)
    assert [row["state"] for row in rows(evaluator.ledger, "trainings")] == ["interrupted"]
    again = evaluator.evaluate(plan, Unseen(), held=False)
    assert again.training is not None and (tmp_path / str(again.training.weights)).is_file()
    assert not list(tmp_path.rglob("*.part"))
    evaluator.ledger.close()


def test_a_failure_of_the_machine_may_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise MachineError("out of memory: 80 GiB")

    evaluator, plan = made(STUDY, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("hadnas.search.evaluate.Trainer", full)
        outcome = evaluator.evaluate(plan, Unseen(), held=False)
    assert outcome.reason == "out of memory: 80 GiB" and outcome.broken == {"trains": 1.0}
    training = evaluator.ledger.training(evaluator.key(plan))
    assert training is not None and (training.state, training.reason) == ("interrupted", "out of memory: 80 GiB")
    outcome = evaluator.evaluate(plan, Unseen(), held=False)
    assert not outcome.reused and outcome.training is not None and outcome.training.attempt == 2
    evaluator.ledger.close()


def test_the_screen_sees_images_of_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a set in the order of its classes, as an image folder is read; and none that do not fit on the device."""
    evaluator, plan = made(STUDY, tmp_path)
    images = evaluator.data.train.images
    evaluator.data.train.images = images.subset(np.argsort(images.labels.numpy(), kind="stable"))
    seen: list[Tensor] = []

    def note(module: Any, inputs: Any, labels: Tensor, **options: Any) -> Screened:
        seen.append(labels)
        return screen(module, inputs, labels, **options)

    monkeypatch.setattr("hadnas.search.evaluate.screen", note)
    evaluator.evaluate(plan, Unseen(), held=True)
    assert len(seen[0]) == 32 and set(seen[0].tolist()) == set(range(10))

    def full(tensor: Tensor, device: Any) -> None:
        raise torch.OutOfMemoryError

    unread = Split(images, evaluator.data.train.normalise)
    monkeypatch.setattr(Tensor, "to", full)
    with pytest.raises(DataError, match=r"1149 images of 0\.0 GiB .*cpu"):
        next(unread.batches(32))
    evaluator.ledger.close()


def test_a_study_that_latency_decides_keeps_its_protocol(tmp_path: Path) -> None:
    names = one_of("add", "gated")  # a choice of names is a part of the language
    space = pyramid((8, [residual(op("mlp"), merge=op(names))]))
    decided = Study(name="timed", space=space, objectives=("val/accuracy", "latency_ratio"))
    evaluator, _ = made(decided, tmp_path)
    evaluator.study = STUDY
    assert not any("latency" in name for name in evaluator.facts)
    evaluator.study = decided
    for _ in range(2):
        open_trials(decided, evaluator.home, evaluator.facts)
    assert stored_study("timed", evaluator.home)[0] == decided
    elsewhere = {**evaluator.facts, "latency protocol": {**evaluator.facts["latency protocol"], "device_name": "other"}}
    with pytest.raises(StudyError, match=r'latency protocol\.device_name: ".*" became "other"'):
        open_trials(decided, evaluator.home, elsewhere)
    evaluator.ledger.close()
