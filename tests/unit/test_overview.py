"""What a search had found after each architecture, and how often it is written to MLflow."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hadnas.measure.front import pareto_front
from hadnas.results.table import StudyResults
from hadnas.samplers.volume import FIRST, volume
from hadnas.search.mirror import overview
from hadnas.search.mirror.overview import curves, overview_of
from hadnas.search.run import run_study
from hadnas.store.trials import FIGURES, FINGERPRINT, RUNG
from hadnas.track.runs import Tracker
from tests.homes import new_home, study
from tests.unit.test_volume import PROBLEM

BEGAN = datetime(2026, 1, 1)
Spec = tuple[str, float | None, float]


def trials(*found: Spec) -> list[FrozenTrial]:
    """(network, accuracy, MACs), finished one a second; without an accuracy it was stopped at a rung."""
    made = []
    for place, (name, accuracy, macs) in enumerate(found):
        stopped = accuracy is None
        kept = {FINGERPRINT: name} | ({RUNG: 1} if accuracy is None else {FIGURES: {"val/accuracy": accuracy}})
        trial = create_trial(
            state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
            params={"width": 1},
            distributions={"width": CategoricalDistribution((1,))},
            values=None if accuracy is None else [accuracy, macs],
            user_attrs=kept,
        )
        trial.datetime_complete = BEGAN + timedelta(seconds=place)
        made.append(trial)
    return made


def test_points_count_architectures_in_the_order_in_which_they_finished() -> None:
    seen = trials(("a", 0.5, 100.0), ("b", None, 0), ("c", 0.6, 200.0), ("a", 0.5, 100.0), ("b", 0.7, 50.0))
    points = list(curves(PROBLEM, seen[::-1], "val/accuracy", -1))
    assert [done for _, done, _ in points] == [1, 2, 3, 3, 3]  # b was stopped, a reused, b trained to the end
    assert [figures["search/best_accuracy"] for *_, figures in points] == [0.5, 0.5, 0.6, 0.6, 0.7]
    assert [figures["search/front_size"] for *_, figures in points] == [1, 1, 2, 2, 1]
    assert all("search/hypervolume" not in figures for *_, figures in points)
    assert [when for when, *_ in points] == [int(BEGAN.timestamp() + second) * 1000 for second in range(5)]
    assert list(curves(PROBLEM, seen, "val/accuracy", points[2][0])) == points[3:]


def test_the_hypervolume_begins_when_its_scale_is_known_and_never_changes() -> None:
    rows = [(0.5 + place / 100, 10.0 * 1.3**place) for place in range(FIRST + 5)]
    seen = trials(*((str(place), *row) for place, row in enumerate(rows)))
    points = {done: figures for _, done, figures in curves(PROBLEM, seen, "val/accuracy", -1)}
    early = {done: figures for _, done, figures in curves(PROBLEM, seen[: FIRST + 1], "val/accuracy", -1)}
    assert early.items() <= points.items()
    assert [done for done, figures in points.items() if "search/hypervolume" in figures] == [*range(FIRST, FIRST + 6)]
    assert points[FIRST + 5]["search/hypervolume"] == volume(PROBLEM, rows).of(rows)
    assert points[FIRST + 5]["search/front_size"] == len(pareto_front(rows, PROBLEM.directions))


def test_the_parent_run_is_written_by_a_search_and_not_more_often_than_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_home(tmp_path)
    run_study(study(trials=2), home, device="cpu")
    client = MlflowClient(home.tracking_uri)
    results = StudyResults("tiny", home)
    tracker = Tracker(home.tracking_uri, home.artifacts, "tiny")
    parent = client.get_run(tracker.parent_run_id)
    assert parent.data.params.items() >= {"objectives": "val/accuracy, macs", "sampler": "tpe", "epochs": "1"}.items()
    assert parent.data.tags["hadnas.trials"] == "2"
    assert parent.data.metrics == {"search/best_accuracy": results.best.value, "search/front_size": len(results.front)}
    history = client.get_metric_history(tracker.parent_run_id, "search/front_size")
    assert [point.step for point in history] == [1, 2]
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith(f"{results.best.name} won: validation accuracy {results.best.value:.4f} on 288 images")
    for found in results.front:
        assert f"[{found.name}](#/experiments/{tracker.experiment_id}/runs/{found.run_id}" in note
    assert "report.html" in {item.path for item in client.list_artifacts(tracker.parent_run_id)}
    figures = {item.path for item in client.list_artifacts(tracker.parent_run_id, "figures")}
    assert figures >= {"figures/front.svg", "figures/history.svg"}
    told = client.get_experiment(tracker.experiment_id).tags["mlflow.note.content"]
    assert "digits" in told and f"#/experiments/{tracker.experiment_id}/runs?workflowType=machine_learning" in told
    on_front = {found.run_id for found in results.front}
    for run in client.search_runs([tracker.experiment_id], "tags.`hadnas.kind` = 'trial'"):
        assert run.data.params.items() >= {"epochs": "1", "batch": "512", "device": "cpu", "seed": "0"}.items()
        assert run.data.tags["mlflow.runColor"] == ("#0072B2" if run.info.run_id in on_front else "#56B4E9")
        contexts = {one.dataset.name: one.tags[0].value for one in run.inputs.dataset_inputs}
        assert contexts == {"digits (training)": "training", "digits (validation)": "validation"}
        assert {one.dataset.digest for one in run.inputs.dataset_inputs} == {results.stored["digest"]}

    written: list[str] = []
    monkeypatch.setattr(overview.Overview, "_write", lambda self, heading: written.append(heading))
    clock = [100.0]
    monkeypatch.setattr(overview.time, "monotonic", lambda: clock[0])
    again = overview_of(results, tracker)
    for seconds, count in ((0.0, 1), (4.9, 1), (0.2, 2), (1.0, 2)):
        clock[0] += seconds
        again.update()
        assert len(written) == count
    assert written[0].startswith("2 of 2 architectures; best validation accuracy")
    results.ledger.close()
