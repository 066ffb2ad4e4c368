"""The finals of a ledger that knows every training and every test score: what is asked of it, and what is compared."""

from pathlib import Path

import optuna
import pytest

from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.twins import additive_twin, one_branch
from hadnas.hosts.host import make_plan
from hadnas.opened import open_study
from hadnas.results.finals import openings
from hadnas.search.evaluator import Evaluator
from hadnas.search.finals import run_finals
from hadnas.space import op
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.records import TrainingKey
from hadnas.store.study_store import open_trials
from hadnas.train.data.spec import load_data
from tests.homes import Unseen, new_home, study
from tests.networks import pyramid, residual

SEED = 3
RIGHT = {"finalist": 300, "additive twin": 180, "one branch": 240}
"""Of 360 test images, by kind."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A study with one trial; it and its controls were trained with the next two seeds, and no weights are left."""
    home = new_home(tmp_path)
    made = study(space=pyramid((8, [residual(op("star"))])), seed=SEED)
    data, ledger = load_data("digits"), Ledger(home.url)
    judges = [Evaluator(made.model_copy(update={"seed": SEED + s}), data, home, ledger, "cpu") for s in range(3)]
    arch = complete(made.space, judges[0].task)
    field = {"finalist": arch, "additive twin": additive_twin(arch, judges[0].task)}
    field |= {"one branch": one_branch(arch, judges[0].task)}
    finish(ledger, judges[0].key(make_plan(arch, judges[0].task)), arch)
    searched = judges[0].evaluate(make_plan(arch, judges[0].task), Unseen(), held=False)
    assert searched.reused
    for kind, each in field.items():
        for judge in judges[1:]:
            assert each is not None
            key = judge.key(make_plan(each, judge.task))
            finish(ledger, key, each)
            ledger.put_test(key, [image < RIGHT[kind] for image in range(360)], 0.5)
    ledger.close()
    figures = {**searched.figures, "val/accuracy": 0.9}
    book = open_trials(made, home, judges[0].facts).book
    attrs = {"fingerprint": arch.fingerprint, "figures": figures, "notes": {"val_n": 288, **searched.notes}}
    values = [figures[name] for name in made.objectives]
    book.add_trial(optuna.trial.create_trial(values=values, user_attrs=attrs))
    return home


def finish(ledger: Ledger, key: TrainingKey, arch: Arch) -> None:
    ledger.measured.put_architecture(arch.fingerprint, arch.json)
    claim = ledger.claim(key, study="tiny")
    ledger.place_weights(claim)
    ledger.finish(claim, val_accuracy=0.9, val_loss=0.4, val_n=288, seconds=1.0)


def test_seeds_are_fresh_leads_are_the_finalists_and_nothing_is_scored_twice(home: Home) -> None:
    finals = run_finals("tiny", home, seeds=2, candidates=0)
    results = open_study("tiny", home.path)
    for entry in results.book.user_attrs["finals"]:
        assert [key["seed"] for key in entry["keys"]] == [SEED + 1, SEED + 2]
    assert [final.kind for final in finals] == list(RIGHT)
    assert [round(360 * final.accuracy.mean) for final in finals if final.accuracy] == list(RIGHT.values())
    leads = [final.lead.mean for final in finals if final.lead is not None]
    assert leads == pytest.approx([120 / 360, 60 / 360])  # of the finalist: above 0 where it is better
    assert openings(results) == 0  # all is known: the test split stays closed, though no weights are left
    assert len(results.ledger.trainings()) == 7
    results.ledger.close()
