"""The main job on real images: search, see, resume, reuse."""

import csv
import json
import math
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
from safetensors.torch import load_file, save_file
from sqlalchemy import text

from hadnas.errors import Interrupted, StudyError
from hadnas.hosts.build import build
from hadnas.opened import open_study
from hadnas.results.table import StudyResults
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.shell.tables.study import show_top
from hadnas.store.database import open_engine
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.track.runs import Tracker
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from hadnas.train.score import score_module
from tests.homes import RECIPE, new_home, study
from tests.networks import TINY_SPACE, pyramid

PLAIN = pyramid((8, []))


def rows(results: StudyResults) -> list[tuple[Any, ...]]:
    return [(f.number, f.state, f.params, f.figures) for f in results.found]


def test_the_surrogate_meets_a_new_network_with_every_trial_and_stays_below_the_limit(tmp_path: Path) -> None:
    """It knows before, in the same process or another, what a network is and costs."""
    options: dict[str, Any] = {"n_startup_trials": 2, "pool": 40}
    for trials in (3, 6):
        changes = {"sampler": "surrogate", "sampler_options": options, "constraints": {"macs": 25_000}}
        progress = run_study(study(trials=trials, **changes), Home(tmp_path))
        assert (progress.done, progress.refused) == (trials, 0)
    found = open_study("tiny", tmp_path).found
    assert len({each.arch.fingerprint for each in found if each.arch}) == len(found) == 6
    assert all(each.figures["macs"] <= 25_000 for each in found)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which the tiny study ran once, with latency and baselines."""
    home = new_home(tmp_path_factory.mktemp("home"))
    run_study(study(latency="eager", baselines={"plain": PLAIN, "timm": "test_resnet"}), home)
    return home


def test_a_study_trains_its_budget_of_distinct_architectures(home: Home) -> None:
    results = open_study("tiny", home.path)
    trained = results.distinct
    assert len(trained) == 3
    for found in trained:
        assert found.arch is not None
        assert 0 <= found.figures["val/accuracy"] <= 1 and math.isfinite(found.figures["val/loss"])
        assert found.figures["flops"] == 2 * found.figures["macs"] > 0
        assert found.figures["latency_ms"] > 0 and found.figures["latency_ratio"] > 0
        assert results.weights(found).is_file()
    assert [found.name for found in results.baselines] == ["plain", "timm"]
    assert all(found.feasible for found in results.baselines)
    table = results.trials
    assert len(table) == len(results.found) + 2 and table["val/accuracy"].notna().all()


def test_the_recorded_accuracy_is_that_of_the_stored_weights(home: Home) -> None:
    results = open_study("tiny", home.path)
    best = results.best
    assert best.arch is not None
    network = build(best.arch, results.task())
    network.load_state_dict(load_file(results.weights(best)))
    score = score_module(network, load_data("digits"))
    assert score.accuracy == best.figures["val/accuracy"] and score.n == best.notes["val_n"]


def test_a_network_of_other_code_is_handed_out_only_with_the_recorded_loss(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other weights stand for what other code makes of the same ones; their hash is taken out of the ledger."""
    results = open_study("tiny", home.path)
    path = results.weights(results.best)
    engine = open_engine(home.url)
    with engine.begin() as connection:
        connection.execute(text("update hadnas_training set weights_sha256 = null"))
    engine.dispose()
    kept = load_file(path)
    monkeypatch.setattr("hadnas.results.weights.hash_of", lambda classes: "other")
    assert results.weights(results.best) == path
    try:
        for changed in ({key: 1.01 * value for key, value in kept.items()}, {}):
            save_file(changed, path)
            for ask in (results.network, lambda found: results.export(found, home.path / "out")):
                with pytest.raises(StudyError, match=rf"{results.best.name}: .*code.*changed"):
                    ask(results.best)
    finally:
        save_file(kept, path)
    assert not (home.path / "out").exists()


def test_front_and_best_follow_their_rules(home: Home) -> None:
    results = open_study("tiny", home.path)
    accuracy = [found.figures["val/accuracy"] for found in results.distinct]
    assert results.best.figures["val/accuracy"] == max(accuracy)
    macs = [found.figures["macs"] for found in results.front]
    assert results.front[0].name == results.best.name and macs == sorted(macs, reverse=True)


def test_mlflow_mirrors_the_study(home: Home, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    kinds = sorted(run.data.tags["hadnas.kind"] for run in runs)
    results = open_study("tiny", home.path)
    assert kinds == sorted(["baseline"] * 2 + ["study"] + ["trial"] * len(results.found))
    assert {run.info.status for run in runs} == {"FINISHED"}
    parent = next(run for run in runs if run.data.tags["hadnas.kind"] == "study")
    by_id = {run.info.run_id: run for run in runs}
    for found in [*results.found, *results.baselines]:
        assert found.run_id is not None and found.arch is not None
        run = by_id[found.run_id]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        for name in ("val/accuracy", "macs", "flops", "calls", "latency_ms", "latency_ratio", "latency_ratio_iqr"):
            assert run.data.metrics[name] == found.figures[name], name
        latency = results.latency(found)
        assert latency is not None and json.loads(run.data.tags["hadnas.latency"]) == latency.protocol
        assert latency.protocol["device"] == "cpu" and latency.protocol["versions"]
        assert run.data.metrics["latency_noisy"] == latency.figures["noisy"] == found.notes["latency_noisy"]
        for curve in ("train/loss", "val/loss", "val/accuracy"):
            assert len(client.get_metric_history(found.run_id, curve)) == RECIPE.epochs
        files = {item.path for item in client.list_artifacts(found.run_id)}
        assert {"arch.json", "arch.txt", "architecture.svg", "cost.csv", "curve.csv", "model.py"} <= files
        with open(client.download_artifacts(found.run_id, "cost.csv", str(tmp_path)), newline="") as file:
            parts = {row["module"]: row for row in csv.DictReader(file)}
        assert int(parts[""]["macs"]) == found.figures["macs"]
        with open(client.download_artifacts(found.run_id, "curve.csv", str(tmp_path)), newline="") as file:
            points = list(csv.DictReader(file))
        assert len(points) == RECIPE.epochs
        assert float(points[-1]["val_accuracy"]) == found.figures["val/accuracy"]


def test_latencies_of_another_protocol_are_left_out(home: Home) -> None:
    results = open_study("tiny", home.path)
    best = results.best
    assert results.comparable(best, "latency_ms") == best.figures["latency_ms"] and not results.timed_otherwise
    other = replace(best, notes={**best.notes, "latency_protocol": "of another device"})
    results.found[results.found.index(best)] = other
    assert results.comparable(other, "latency_ms") is None
    assert results.timed_otherwise.endswith(f"device or with other versions: {best.name}")


def test_the_same_command_again_goes_on_to_the_same_total(home: Home) -> None:
    before = rows(open_study("tiny", home.path))
    same = study(latency="eager", baselines={"plain": PLAIN, "timm": "test_resnet"})
    assert run_study(same, home).done == 3
    assert rows(open_study("tiny", home.path)) == before
    assert run_study(same.model_copy(update={"trials": 4}), home).done == 4
    assert rows(open_study("tiny", home.path))[: len(before)] == before


def test_a_changed_study_is_refused_and_nothing_is_lost(home: Home) -> None:
    before = rows(open_study("tiny", home.path))
    changed = {**TINY_SPACE, "norm": "layernorm2d"}
    with pytest.raises(StudyError, match=r"'tiny'.*space\.norm: .* became \"layernorm2d\""):
        run_study(study(latency="eager", space=changed), home)
    with pytest.raises(StudyError, match=r"recipe\.epochs: 1 became 2"):
        run_study(study(latency="eager", recipe=Recipe(epochs=2, batch=128)), home)
    assert rows(open_study("tiny", home.path)) == before


def test_a_database_that_fails_is_named(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's errors, as they come of a lock."""
    with (
        closing(sqlite3.connect(tmp_path / "a.db")) as one,
        closing(sqlite3.connect(tmp_path / "a.db", timeout=0)) as two,
    ):
        one.execute("begin immediate")
        with pytest.raises(sqlite3.OperationalError) as caught:
            two.execute("begin immediate")

    def fail(*args: Any) -> None:
        raise optuna.exceptions.StorageInternalError("during the commit") from caught.value

    monkeypatch.setattr("hadnas.search.run._Run.candidates", fail)
    with pytest.raises(StudyError, match=r"hadnas.db: .*process.*lock"):
        run_study(study(latency="eager", baselines={"plain": PLAIN, "timm": "test_resnet"}), home)


def test_mlflow_that_was_thrown_away_is_written_anew(home: Home, tmp_path: Path) -> None:
    """The same runs: names, ends, parameters, figures, curves, tags and files, also where a report came first."""
    again = Home(tmp_path)
    with sqlite3.connect(home.path / "hadnas.db") as whole, sqlite3.connect(tmp_path / "hadnas.db") as copy:
        whole.backup(copy)
    shutil.copytree(home.path / "tiny" / "weights", tmp_path / "tiny" / "weights")
    Tracker(again.tracking_uri, again.artifacts, "tiny").leave()  # as a report does
    same = study(latency="eager", baselines={"plain": PLAIN, "timm": "test_resnet"})
    run_study(same, again)
    seen = []
    for place in (home, again):
        client = mlflow.MlflowClient(place.tracking_uri)
        experiment = client.get_experiment_by_name("hadnas/tiny")
        assert experiment is not None
        found = {}
        for run in client.search_runs([experiment.experiment_id]):
            curve = [point.value for point in client.get_metric_history(run.info.run_id, "val/accuracy")]
            tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
            files = {item.path for item in client.list_artifacts(run.info.run_id)}
            found[run.info.run_name] = (run.info.status, run.data.params, run.data.metrics, curve, tags, files)
        del found["tiny"]  # the study's own run ended as its last command did
        seen.append(found)
    results = open_study("tiny", tmp_path)
    known = {found.run_id for found in (*results.found, *results.baselines)}
    assert seen[0] == seen[1] and len(seen[0]) == len(known)
    run_study(same, again)  # and once
    runs = {run.info.run_id for run in client.search_runs([experiment.experiment_id])}
    assert known < runs and len(runs) == 1 + len(known)


def test_another_study_trains_nothing_twice(home: Home) -> None:
    ledger = Ledger(home.url)
    before = len(ledger.trainings())
    run_study(study(name="again", latency="eager", trials=3), home)
    first, again = open_study("tiny", home.path), open_study("again", home.path)
    assert [f.params for f in again.found] == [f.params for f in first.found[: len(again.found)]]
    assert all(found.notes["reused"] for found in again.found)
    assert [f.figures for f in again.found] == [f.figures for f in first.found[: len(again.found)]]
    assert len(ledger.trainings()) == before
    ledger.close()
    client = mlflow.MlflowClient(home.tracking_uri)
    for found in again.found:  # what is known is shown as what is new
        assert found.run_id is not None
        assert {"cost.csv", "curve.csv", "model.py"} <= {item.path for item in client.list_artifacts(found.run_id)}


def test_a_baseline_that_another_worker_trains_is_left_to_it_until_it_dies(home: Home) -> None:
    shared = study(name="shared", latency="eager", trials=1, baselines={"plain": PLAIN})
    run_study(shared, home)
    tracker = Tracker(home.tracking_uri, home.artifacts, "shared")
    run_id = tracker.start_trial(None, "baseline", "plain", {}, {})
    done = StudyResults("shared", home).baselines
    book = optuna.load_study(study_name="shared", storage=home.url)
    another = Ledger(home.url)
    kept = {"fingerprint": book.user_attrs["baseline:plain"]["fingerprint"], "worker": another.worker.id}
    book.set_user_attr("baseline:plain", kept)
    book.set_user_attr("run:baseline:plain", run_id)
    held = another.claims.take("shared", ["baseline plain"])
    assert held is not None
    assert run_study(shared, home).done == 1
    assert tracker.client.get_run(run_id).info.status == "RUNNING"
    assert StudyResults("shared", home).baselines == []
    another.claims.give_back(held)
    another.close()
    run_study(shared, home)
    assert tracker.client.get_run(run_id).info.status == "KILLED"
    (found,) = StudyResults("shared", home).baselines
    assert found.figures == done[0].figures and found.run_id not in (None, run_id, done[0].run_id)


def test_what_reads_a_damaged_database_names_it(home: Home, tmp_path: Path) -> None:
    damaged = Home(tmp_path)
    with sqlite3.connect(home.path / "hadnas.db") as whole, sqlite3.connect(tmp_path / "hadnas.db") as copy:
        whole.backup(copy)
        page = copy.execute("select rootpage from sqlite_master where name = 'trial_user_attributes'").fetchone()[0]
        size = copy.execute("pragma page_size").fetchone()[0]
    with (tmp_path / "hadnas.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"x" * size)
    with pytest.raises(StudyError, match=r"hadnas.db: .*damaged \(.+\)"):
        _ = StudyResults("tiny", damaged).found


def test_top_shows_baselines_before_the_first_candidate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.label.startswith("trial"):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run_study(study(baselines={"plain": PLAIN}), new_home(tmp_path), watch=interrupt)
    show_top("tiny", Home(tmp_path), 5)
    assert "0 architectures" in (shown := capsys.readouterr().out) and "plain" in shown
