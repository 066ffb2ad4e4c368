"""The ledger keeps what it is given, on SQLite and on PostgreSQL."""

import csv
import math
from dataclasses import replace

import pytest

from hadnas.errors import LostClaim, StudyError, UnknownName
from hadnas.store.ledger import Ledger
from hadnas.store.listing import export_csv, num_rows, rows
from hadnas.store.records import Costs, TrainingKey

KEY = TrainingKey("f1", "image:1x8x8:10", "digits", "recipe", 3, 0, "code")
COSTS = Costs(5_000_000_000, 2**40, 3, 4, 5, bytes_moved=2**33, calls=7, peak_activation_bytes=2**34)  # beyond 32 bits


@pytest.fixture
def ledger(url):
    opened = Ledger(url)
    opened.measured.put_architecture("f1", '{"op":"pyramid"}')
    yield opened
    opened.close()


def test_architectures_and_costs_are_kept(ledger, url):
    ledger.measured.put_architecture("f1", "another text never replaces the first")
    ledger.measured.put_cost("f1", "t", "c", Costs(*[1] * 8))
    ledger.measured.put_cost("f1", "t", "c", COSTS)
    again = Ledger(url)
    assert again.measured.architecture("f1") == '{"op":"pyramid"}' and again.measured.architecture("f2") is None
    assert again.measured.get_cost("f1", "t", "c") == COSTS
    assert again.measured.get_cost("f1", "u", "c") is None and again.measured.get_cost("f1", "t", "edited") is None
    again.close()


def test_the_newest_latency_counts_and_none_is_lost(ledger):
    for median in (2.0, 1.0):
        ledger.measured.put_latency(
            "f1", "t", "c", "p", {"device": "cpu", "batch": 1}, {"median_ms": median, "ratio": math.nan}
        )
    found = ledger.measured.get_latency("f1", "t", "c", "p")
    assert found.figures == {"median_ms": 1.0, "ratio": None} and found.protocol == {"device": "cpu", "batch": 1}
    assert (
        ledger.measured.get_latency("f1", "t", "c", "q") is None
        and ledger.measured.get_latency("f1", "t", "edited", "p") is None
    )
    assert [row["figures"]["median_ms"] for row in rows(ledger, "latencies")] == [2.0, 1.0]


def test_a_finished_training_is_done_for_all_with_curve_and_figures(ledger):
    claim = ledger.claim(KEY, "w1", study="digits", versions={"torch": "2"})
    assert (claim.status, claim.attempt) == ("mine", 1)
    ledger.add_epoch(claim, 1, train_loss=2.0, val_loss=1.5, metrics={"accuracy": 0.5}, seconds=0.1)
    ledger.add_epoch(claim, 2, train_loss=math.nan, val_loss=math.inf, metrics={"accuracy": 0.6}, seconds=0.1)
    ledger.finish(claim, metrics={"accuracy": 0.6}, val_loss=1.25, val_n=360, seconds=0.25)
    done = ledger.claim(KEY, "w2", study="another")
    assert done.status == "done"
    training = done.training
    assert training == ledger.training(KEY) == ledger.trainings(fingerprint="f1")[0]
    assert (training.state, training.study, training.worker) == ("complete", "digits", "w1")
    assert (training.metrics["accuracy"], training.val_loss, training.val_n, training.seconds) == (0.6, 1.25, 360, 0.25)
    assert [(p.epoch, p.train_loss, p.val_loss, p.metrics["accuracy"]) for p in training.curve] == [
        (1, 2.0, 1.5, 0.5),
        (2, None, None, 0.6),
    ]
    assert training.versions == {"torch": "2"} and training.started <= training.heartbeat <= training.finished


@pytest.mark.parametrize("name", ["fingerprint", "task", "data", "recipe", "epochs", "seed", "code"])
def test_every_part_of_the_key_makes_another_training(ledger, name):
    ledger.measured.put_architecture("f2", "{}")
    other = {"fingerprint": "f2", "epochs": 4, "seed": 1}.get(name, "other")
    fields = {field: getattr(KEY, field) for field in KEY.__dataclass_fields__} | {name: other}
    ledger.fail(ledger.claim(KEY), "diverged")
    assert ledger.claim(KEY).status == "done"
    assert ledger.claim(TrainingKey(**fields)).status == "mine"


def test_every_part_of_the_key_but_the_architecture_makes_another_variant():
    other = {name: {"epochs": 4, "seed": 1}.get(name, "other") for name in KEY.__dataclass_fields__}
    variants = {replace(KEY, **{name: value}).variant for name, value in other.items()}
    assert len(variants) == len(other) and replace(KEY, fingerprint="f2").variant == KEY.variant


def test_failed_trainings_keep_curve_and_reason_and_are_not_repeated(ledger):
    claim = ledger.claim(KEY)
    ledger.add_epoch(claim, 1, metrics={"accuracy": 0.1})
    ledger.fail(claim, "loss is not finite")
    again = ledger.claim(KEY)
    assert (again.status, again.training.state) == ("done", "failed")
    assert again.training.reason == "loss is not finite" and again.training.curve[0].metrics["accuracy"] == 0.1


def test_a_released_claim_may_be_taken_at_once_and_its_curve_stays(ledger):
    first = ledger.claim(KEY)
    ledger.add_epoch(first, 1, metrics={"accuracy": 0.1})
    ledger.release(first, "Ctrl-C")
    second = ledger.claim(KEY)
    assert (second.status, second.attempt) == ("mine", 2)
    ledger.add_epoch(second, 1, metrics={"accuracy": 0.2})
    curve = ledger.finish(second, metrics={"accuracy": 0.2}, val_loss=1.0, val_n=10, seconds=1.0).curve
    assert [(point.attempt, point.metrics["accuracy"]) for point in curve] == [(1, 0.1), (2, 0.2)]


def test_weights_of_two_protocols_never_share_a_file(ledger):
    places = []
    for seed in (0, 1):
        key = TrainingKey("f1", "t", "d", "r", 3, seed, "c")
        claim = ledger.claim(key, study="digits")
        places.append(ledger.place_weights(claim))
        assert ledger.place_weights(claim) == places[-1]
        ledger.release(claim)
        assert ledger.place_weights(ledger.claim(key, study="digits")) == places[-1]
    assert places == ["digits/weights/f1.safetensors", f"digits/weights/f1-{key.variant}.safetensors"]
    elsewhere = ledger.claim(TrainingKey("f1", "t", "d", "r", 3, 2, "c"), study="other")
    assert ledger.place_weights(elsewhere) == "other/weights/f1.safetensors"


def test_an_unknown_architecture_is_refused(ledger):
    with pytest.raises(StudyError, match="put_architecture first"):
        ledger.claim(TrainingKey("f9", "t", "d", "r", 3, 0, "c"))
    with pytest.raises(StudyError, match="put_architecture first"):
        ledger.measured.put_cost("f9", "t", "c", COSTS)


def test_tables_leave_as_csv(ledger, tmp_path):
    ledger.measured.put_cost("f1", KEY.task, "edited", Costs(*[1] * 8))
    ledger.measured.put_cost("f1", KEY.task, KEY.code, COSTS)
    claim = ledger.claim(KEY, study="digits", versions={"torch": "2"})
    ledger.finish(claim, metrics={"accuracy": 0.6}, val_loss=1.25, val_n=360, seconds=0.25)
    export_csv(ledger, tmp_path / "trainings.csv", "trainings")
    with open(tmp_path / "trainings.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["fingerprint"], row["val_accuracy"], row["macs"]) == ("f1", "0.6", str(COSTS.macs))
    assert row["versions"] == '{"torch": "2"}'
    known = {"architectures": 1, "costs": 2, "latencies": 0, "predictors": 0, "trainings": 1, "tests": 0, "epochs": 0}
    assert num_rows(ledger) == known
    with pytest.raises(UnknownName, match="did you mean 'latencies'"):
        rows(ledger, "latency")
    with pytest.raises(StudyError, match="cannot be written"):
        export_csv(ledger, tmp_path / "missing" / "x.csv", "epochs")


def test_the_test_split_is_opened_once(ledger):
    claim = ledger.claim(KEY)
    with pytest.raises(StudyError, match="not complete"):
        ledger.put_test(KEY, [True], 0.5)
    ledger.finish(claim, metrics={"accuracy": 0.6}, val_loss=1.25, val_n=360, seconds=0.25)
    assert ledger.get_test(KEY) is None
    ledger.put_test(KEY, [True, False, True], 0.5)
    ledger.put_test(KEY, [False, False, False], 9.0)
    assert ledger.get_test(KEY) == ([True, False, True], 0.5)
    ledger.finish(ledger.claim(replace(KEY, seed=1)), metrics={"accuracy": 0.7}, val_loss=1.0, val_n=360, seconds=0.25)
    (row,) = rows(ledger, "tests")  # the other training was not opened
    assert (row["fingerprint"], row["seed"], row["right"], row["n"], row["loss"]) == ("f1", 0, 2, 3, 0.5)
    assert num_rows(ledger)["tests"] == 1


def test_a_stopped_training_has_no_figures_and_the_next_that_asks_continues_it(ledger):
    first = ledger.claim(KEY, study="one")
    ledger.add_epoch(first, 1, metrics={"accuracy": 0.1})
    stopped = ledger.stop(first, "no better")
    assert (stopped.state, stopped.reason, stopped.metrics.get("accuracy"), stopped.weights) == (
        "stopped",
        "no better",
        None,
        None,
    )
    assert ledger.curves(KEY) == {} and len(stopped.curve) == 1
    with pytest.raises(StudyError, match="not complete"):
        ledger.put_test(KEY, [True], 0.5)
    second = ledger.claim(KEY, study="two", wait=9.0)
    assert (second.status, second.attempt, second.training.reason) == ("mine", 2, None)
    with pytest.raises(LostClaim):
        ledger.stop(first, "no better")


def test_curves_are_those_of_complete_trainings_of_the_same_recipe_by_network(ledger):
    ledger.measured.put_architecture("f2", "{}")
    others = [replace(KEY, fingerprint="f2"), replace(KEY, code="edited"), replace(KEY, seed=1), replace(KEY, epochs=4)]
    for accuracy, key in enumerate([KEY, *others]):
        cut_short = ledger.claim(key)
        ledger.add_epoch(cut_short, 1, metrics={"accuracy": 0.9})
        ledger.release(cut_short)
        claim = ledger.claim(key)
        for epoch in (1, 2):
            ledger.add_epoch(claim, epoch, metrics={"accuracy": accuracy / 10})
        ledger.finish(claim, metrics={"accuracy": accuracy / 10}, val_loss=1.0, val_n=10, seconds=1.0)
    found = {place: [(p.epoch, p.metrics["accuracy"]) for p in curve] for place, curve in ledger.curves(KEY).items()}
    assert found == {
        ("f1", "code"): [(1, 0.0), (2, 0.0)],
        ("f2", "code"): [(1, 0.1), (2, 0.1)],
        ("f1", "edited"): [(1, 0.2), (2, 0.2)],
    }
