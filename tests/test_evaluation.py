"""One evaluation of a candidate: what is asked of the ledger, what is refused, and what may be tried again."""

from pathlib import Path

import pytest

from hadnas.models.complete import complete
from hadnas.search.evaluation import Elsewhere, Evaluation, Evaluator
from hadnas.search.ledger import Ledger
from hadnas.search.storage import Home
from hadnas.search.study import Study
from hadnas.train.data import load_data
from hadnas.train.recipe import Recipe
from tests.networks import TINY_SPACE, pyramid

STUDY = Study(name="tiny", space=TINY_SPACE, recipe=Recipe(epochs=1, batch=512), latency=None)


def made(study: Study, path: Path) -> tuple[Evaluator, Evaluation]:
    """An evaluator in a fresh home, and a plain candidate that its ledger knows."""
    home = Home(path)
    evaluator = Evaluator(study, load_data("digits"), home, Ledger(home.url), "cpu")
    arch = complete(pyramid((8, [])), evaluator.task)
    evaluator.ledger.put_architecture(arch.fingerprint, arch.json)
    return evaluator, Evaluation(arch)


def test_what_another_worker_trains_is_waited_for_only_as_long_as_asked(tmp_path: Path) -> None:
    evaluator, evaluation = made(STUDY, tmp_path)
    claim = evaluator.ledger.claim(evaluator.key(evaluation.arch), "another")
    with pytest.raises(Elsewhere, match="is being trained by another"):
        evaluator.train(evaluation, print, wait=0.0)
    evaluator.ledger.finish(claim, val_accuracy=0.5, val_loss=1.0, val_n=10, seconds=1.0)
    evaluator.train(evaluation, print)
    assert evaluation.reused and evaluation.figures["val/accuracy"] == 0.5
    evaluator.ledger.close()
