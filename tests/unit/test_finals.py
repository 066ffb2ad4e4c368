"""The finals of a ledger that knows every training and every test score: what is asked of it, and what is compared."""

from pathlib import Path

import optuna
import pytest
from torch import nn

from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.twins import additive_twin, one_branch
from hadnas.hosts.build import build_seeded, save_weights
from hadnas.hosts.host import make_plan
from hadnas.measure.metrics.metric import METRICS
from hadnas.opened import open_study
from hadnas.results.finals.finals import difference_text, openings
from hadnas.results.statistics import Estimate
from hadnas.search.evaluator import Evaluator
from hadnas.search.finals import run_finals
from hadnas.space import every, one_of, op
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.records import TrainingKey
from hadnas.store.study_store import open_trials
from hadnas.store.trials import final_entries
from hadnas.train.data.spec import load_data
from hadnas.train.score import score_module
from tests.homes import Unseen, new_home, study
from tests.networks import pyramid, residual

SEED = 3
RIGHT = {"finalist": 300, "additive twin": 180, "one branch": 240}
"""Of 360 test images, by kind."""


def fabricated(path: Path, *, scored: bool = True) -> Home:
    """A study with one trial; it and its controls were trained with the next two seeds.

    Where they are `scored`, no weights are left; else weights are those of an untrained network.
    """
    home = new_home(path)
    made = study(space=pyramid((8, [residual(one_of(op("star"), op("mlp")))])), seed=SEED)
    data, ledger = load_data("digits"), Ledger(home.url)
    judges = [Evaluator(made.model_copy(update={"seed": SEED + s}), data, home, ledger, "cpu") for s in range(3)]
    (star, arch), (_, other) = ((params, complete(draw, judges[0].task)) for params, draw in every(made.space))
    field = {"finalist": arch, "additive twin": additive_twin(arch, judges[0].task)}
    field |= {"one branch": one_branch(arch, judges[0].task)}
    finish(ledger, judges[0].key(make_plan(arch, judges[0].task)), arch)
    finish(ledger, judges[0].key(make_plan(other, judges[0].task)), other, accuracy=0.8)
    searched = judges[0].evaluate(make_plan(arch, judges[0].task), Unseen(), held=False)
    assert searched.reused
    for kind, each in field.items():
        for judge in judges[1:]:
            assert each is not None
            plan = make_plan(each, judge.task)
            key = judge.key(plan)
            if scored:
                finish(ledger, key, each)
                ledger.put_test(key, [image < RIGHT[kind] for image in range(360)], 0.5)
            else:
                finish(ledger, key, each, home.path, build_seeded(plan, judge.study.seed))
    ledger.close()
    figures = searched.figures
    book = open_trials(made, home, judges[0].facts).book
    attrs = {"fingerprint": arch.fingerprint, "figures": figures, "notes": {"val_n": 288, **searched.notes}}
    values = [figures[name] for name in made.objectives]
    choice = {name: optuna.distributions.CategoricalDistribution(("star", "mlp")) for name in star}
    book.add_trial(optuna.trial.create_trial(values=values, user_attrs=attrs, params=star, distributions=choice))
    return home


def finish(
    ledger: Ledger,
    key: TrainingKey,
    arch: Arch,
    path: Path = Path(),
    module: nn.Module | None = None,
    accuracy: float = 0.9,
) -> None:
    ledger.measured.put_architecture(arch.fingerprint, arch.json)
    claim = ledger.claim(key, study="tiny")
    place = ledger.place_weights(claim)
    if module is not None:
        save_weights(module, path / place)
    ledger.finish(claim, metrics={"accuracy": accuracy}, val_loss=0.4, val_n=288, seconds=1.0)


def test_seeds_are_fresh_leads_are_the_finalists_and_nothing_is_scored_twice(tmp_path: Path) -> None:
    home = fabricated(tmp_path)
    finals = run_finals("tiny", home, seeds=2, candidates=2)
    results = open_study("tiny", home.path)
    for entry in results.book.user_attrs["finals"]:
        assert [key["seed"] for key in entry["keys"]] == [SEED + 1, SEED + 2]
    assert [final.kind for final in finals] == [*RIGHT, "random"]
    assert finals[-1].name == "best of 2 random" and finals[-1].fingerprint == finals[0].fingerprint
    assert [round(360 * final.estimate.mean) for final in finals if final.estimate] == [*RIGHT.values(), 300]
    leads = [final.lead.mean for final in finals if final.lead is not None]
    assert leads == pytest.approx([120 / 360, 60 / 360, 0])  # of the finalist: above 0 where it is better
    assert openings(results) == 0  # all is known: the test split stays closed, though no weights are left
    assert len(results.ledger.trainings()) == 8
    results.ledger.close()


def test_the_test_split_is_scored_once_for_each_training(tmp_path: Path) -> None:
    home = fabricated(tmp_path, scored=False)
    finals = run_finals("tiny", home, seeds=1, candidates=0)
    results, data = open_study("tiny", home.path), load_data("digits")
    for final, entry in zip(finals, final_entries(results.book), strict=True):
        (key,), arch = entry.keys, results.architecture(entry.fingerprint)
        assert arch is not None and (score := results.ledger.get_test(key)) is not None
        right = score_module(
            build_seeded(make_plan(arch, results.task()), key.seed), data, "test"
        ).hits  # as its weights are
        assert score[0] == right.tolist()
        assert final.estimate is not None and final.estimate.mean == pytest.approx(sum(right.tolist()) / 360)
    assert openings(results) == 1
    for training in results.ledger.trainings():
        (home.path / str(training.weights)).unlink(missing_ok=True)  # so that nothing can be scored again
    assert run_finals("tiny", home, seeds=1, candidates=0) == finals and openings(results) == 1
    results.ledger.close()


@pytest.mark.parametrize(("p", "said"), [(0.0, ", p < 1e-100"), (0.031, ", p = 0.031"), (None, "")])
def test_no_p_value_is_shown_as_0(p: float | None, said: str) -> None:
    found = Estimate(0.25, 0.2, 0.3, 6, 100, 0.01, p)
    assert difference_text(METRICS["accuracy"], found) == f"+0.2500 (+0.2000 to +0.3000){said}"
