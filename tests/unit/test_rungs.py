"""Whether a training stops at a rung, decided from a database: which trainings count, and what the reason says."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from hadnas.samplers.rungs import MIN_FINISHED
from hadnas.search.rungs import reason_to_stop
from hadnas.store.home import Home, optuna_storage
from hadnas.store.ledger import Ledger
from hadnas.store.records import TrainingKey
from hadnas.store.study import Study
from hadnas.store.trials import Trials
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import Epoch
from tests.homes import study

KEY = TrainingKey("new", "task", "data", "recipe", 3, 0, "code")
STUDY = study(recipe=Recipe(epochs=3), rungs=(1,))
POOR = [Epoch(1, 2.0, 2.0, {"accuracy": 0.2}, 0.1, 1.0)]
COUNT = MIN_FINISHED + 1


class Past:
    """A ledger with trainings of the study's recipe: the more MACs, the higher the accuracy."""

    def __init__(self, home: Home) -> None:
        self.storage, self.ledger = optuna_storage(home), Ledger(home.url)
        directions = ["maximize", "minimize"]
        self.book = optuna.create_study(storage=self.storage, study_name="tiny", directions=directions)
        self.trials = Trials(self.book, self.storage)

    def train(self, number: int, seed: int = 0) -> None:
        fingerprint = f"f{number}"
        self.ledger.measured.put_architecture(fingerprint, "{}")
        claim = self.ledger.claim(replace(KEY, fingerprint=fingerprint, seed=seed))
        for epoch in (1, 2, 3):
            accuracy = 0.1 * epoch + 0.05 * number
            self.ledger.add_epoch(
                claim,
                epoch,
                train_loss=1 - accuracy,
                val_loss=1 - accuracy,
                metrics={"accuracy": accuracy},
                seconds=1.0,
            )
        self.ledger.finish(claim, metrics={"accuracy": 0.3 + 0.05 * number}, val_loss=0.5, val_n=10, seconds=3.0)

    def tell(self, number: int) -> None:
        trial = self.trials.add(len(self.book.trials), {}, {}, {})
        macs = 100.0 * (number + 1)
        figures = {"val/accuracy": 0.3 + 0.05 * number, "macs": macs, "params": 10.0}
        self.trials.note(trial.number, fingerprint=f"f{number}", figures=figures, notes={"code": "code", "val_n": 10})
        self.trials.tell(trial.number, {}, [figures["val/accuracy"], macs])

    def reason(self, macs: float, chosen: Study = STUDY) -> str:
        return reason_to_stop(chosen, KEY, self.trials, self.ledger, {"macs": macs, "params": 10.0}, POOR)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    found = Past(Home(tmp_path))
    yield found
    found.ledger.close()
    found.storage.engine.dispose()


def test_a_training_stops_where_one_of_the_study_is_ahead_and_goes_on_where_none_costs_less(past: Past) -> None:
    for number in range(COUNT):
        past.train(number)
        past.tell(number)
    said = past.reason(900.0)
    assert "after epoch 1 of 3" in said and "trial-0008 has 0.7000" in said and "macs" in said
    assert "± " in said and past.reason(99.0) == ""
    assert "trial-0000 has 0.3000" in past.reason(100.0)  # the only one that costs no more


@pytest.mark.parametrize(
    "tell",
    [
        lambda past: None,  # the ledger knows them from other studies
        lambda past: [past.tell(number % (COUNT - 2)) for number in range(COUNT)],  # two were drawn again
        lambda past: [past.tell(number) for number in range(COUNT - 2)],
    ],
)
def test_too_few_finished_architectures_of_the_study_stop_nothing(past: Past, tell: Callable[[Past], None]) -> None:
    for number in range(COUNT):
        past.train(number)
    tell(past)
    assert past.reason(1000.0) == ""


def test_trainings_of_another_seed_do_not_count(past: Past) -> None:
    for number in range(COUNT):
        past.train(number, seed=1)
        past.tell(number)
    assert past.reason(900.0) == ""


def test_an_error_to_minimise_is_predicted_in_its_own_direction(tmp_path: Path) -> None:
    """A network with the lowest loss of all goes on, one with the highest stops; the accuracy has no say."""
    chosen = study(recipe=Recipe(epochs=3), rungs=(1,), metric="log_loss")
    storage, ledger = optuna_storage(Home(tmp_path)), Ledger(Home(tmp_path).url)
    book = optuna.create_study(storage=storage, study_name="tiny", directions=chosen.directions)
    trials = Trials(book, storage)
    for number in range(COUNT):
        ledger.measured.put_architecture(f"f{number}", "{}")
        claim = ledger.claim(replace(KEY, fingerprint=f"f{number}"))
        losses = [1.0 + 0.1 * number - 0.2 * epoch for epoch in (1, 2, 3)]
        for epoch, loss in enumerate(losses, 1):
            ledger.add_epoch(claim, epoch, train_loss=loss, val_loss=loss, metrics={"log_loss": loss}, seconds=1.0)
        ledger.finish(claim, metrics={"log_loss": losses[-1]}, val_loss=losses[-1], val_n=10, seconds=3.0)
        trial = trials.add(number, {}, {}, {})
        figures = {"val/log_loss": losses[-1], "macs": 100.0, "params": 10.0}
        trials.note(trial.number, fingerprint=f"f{number}", figures=figures, notes={"code": "code", "val_n": 10})
        trials.tell(trial.number, {}, [losses[-1], 100.0])

    def reason(loss: float) -> str:
        curve = [Epoch(1, loss, loss, {"log_loss": loss, "accuracy": 0.5}, 0.1, 1.0)]
        return reason_to_stop(chosen, KEY, trials, ledger, {"macs": 100.0, "params": 10.0}, curve)

    assert reason(0.5) == "" and "predicted val/log_loss" in reason(1.9) and "trial-0000 has 0.4" in reason(1.9)
    ledger.close()
    storage.engine.dispose()
