"""The finals on real digits: fresh seeds, controls of equal cost, the test split opened once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from hadnas.errors import Interrupted, StudyError
from hadnas.exporter.card import card
from hadnas.exporter.deliver import facts
from hadnas.hosts.build import trained
from hadnas.hosts.host import make_plan
from hadnas.opened import open_study
from hadnas.results.finals.finals import Final, lacking, opened_words, openings, read_finals
from hadnas.results.finals.stress import Stressed
from hadnas.results.report import first_sentence, write_report
from hadnas.results.table import StudyResults
from hadnas.search.finals import run_finals
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.shell.tables.finals import show_finals, show_stressed
from hadnas.space import one_of, op
from hadnas.store import listing
from hadnas.store.home import Home
from hadnas.store.records import TrainingKey
from hadnas.store.study import Study
from hadnas.track.runs import Tracker
from hadnas.train.data.spec import DataSpec, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.score import score_module
from hadnas.train.stress.stress import without_small_weights
from tests.homes import new_home
from tests.networks import pyramid, residual

SPACE = pyramid((8, [residual(op("star", expand=one_of(2, 3)), merge=one_of(op("add"), op("product")))]))
pytestmark = pytest.mark.slow  # test_cli holds finals, too, in short

STUDY = Study(
    name="small", space=SPACE, recipe=Recipe(epochs=1), latency=None, trials=2, baselines={"net": "test_resnet"}
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = new_home(tmp_path_factory.mktemp("finals"))
    run_study(STUDY, home)
    return home


@pytest.fixture(scope="module")
def finals(home: Home) -> list[Final]:
    return run_finals("small", home, top=1, seeds=2, candidates=2)


@pytest.fixture
def results(home: Home, finals: list[Final]) -> Iterator[StudyResults]:
    opened = open_study("small", home.path)
    yield opened
    opened.ledger.close()


def test_everyone_stands_beside_the_finalist(finals: list[Final], results: StudyResults) -> None:
    best = results.best.name
    kinds = ["finalist", "additive twin", "one branch", "baseline", "random"]
    assert [final.kind for final in finals] == kinds
    assert [final.against for final in finals] == [None, best, best, best, best]
    finalist, twin, branch = finals[:3]
    assert finalist.costs is not None and twin.costs is not None and branch.costs is not None
    assert finalist.costs.macs == twin.costs.macs == branch.costs.macs
    assert finalist.costs.params == twin.costs.params and twin.costs.products < finalist.costs.products
    assert finalist.lead is None and all(final.lead is not None for final in finals[1:])


def test_the_report_begins_with_the_finals(finals: list[Final], results: StudyResults) -> None:
    best, twin, _, baseline, _ = finals
    assert best.estimate is not None and twin.lead is not None and baseline.lead is not None
    said = first_sentence(results)
    assert said.startswith(f"{best.name} won: test accuracy {best.estimate.mean:.4f} (95 % interval {best.interval})")
    assert "on 360 images, mean of 2 seeds" in said
    for other, words in (
        (baseline, "the best baseline, net"),
        (twin, "its additive twin, which has sums in their place"),
    ):
        assert other.lead is not None
        noise = "inside the noise" if other.lead.noise else "more than noise"
        interval = f"{other.lead.low:+.4f} to {other.lead.high:+.4f}"
        assert f"{words} (95 % interval {interval}: {noise})" in said
    client = MlflowClient(results.home.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/small")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`hadnas.kind` = 'study'")
    assert parent.data.tags["mlflow.note.content"].startswith(said)


def test_figures_are_those_of_the_weights_on_the_test_split(finals: list[Final], results: StudyResults) -> None:
    data = load_data("digits")
    stored = results.book.user_attrs["finals"]
    for final, entry in zip(finals, stored, strict=True):
        arch = results.architecture(final.fingerprint)
        assert arch is not None and final.estimate is not None
        keys = [TrainingKey(**key) for key in entry["keys"]]
        assert [key.seed for key in keys] == [1, 2]  # the search had seed 0
        scores = []
        for key in keys:
            training = results.ledger.training(key)
            assert training is not None and training.weights is not None
            network = trained(make_plan(arch, results.task()), results.home.path / training.weights)
            scores.append(score_module(network, data, "test").accuracy)
        assert final.estimate.mean == pytest.approx(sum(scores) / 2)
        assert (final.estimate.seeds, final.estimate.n) == (2, data.sizes["test"])
        if final.lead is not None:
            assert finals[0].estimate is not None
            assert final.lead.mean == pytest.approx(finals[0].estimate.mean - final.estimate.mean)


def test_the_same_finals_again_train_and_open_nothing(home: Home, finals: list[Final], results: StudyResults) -> None:
    before = listing.num_rows(results.ledger)
    assert run_finals("small", home, top=1, seeds=2, candidates=2) == finals == read_finals(results)
    assert listing.num_rows(results.ledger) == before and openings(results) == 1
    tracker = Tracker(home.tracking_uri, home.artifacts, "small")
    runs = tracker.client.search_runs([tracker.experiment_id], "tags.`hadnas.kind` = 'final'")
    shown = {run.info.run_name: run.data.metrics for run in runs}
    assert len(shown) == len(runs) == len(finals)
    assert finals[0].estimate is not None
    assert shown[f"final {finals[0].name}"]["test/accuracy"] == pytest.approx(finals[0].estimate.mean)


def test_the_table_says_what_is_inside_the_noise(finals: list[Final], capsys: pytest.CaptureFixture[str]) -> None:
    show_finals("small", finals, 1)
    shown = capsys.readouterr().out
    assert "The test split was opened once." in shown and "one-branch control" not in shown
    assert "additive twin" in shown and "test accuracy" in shown and "2 seeds and n = 360 images" in shown
    assert (shown.count("inside the noise") > 0) == any(f.lead is not None and f.lead.noise for f in finals)


def test_what_the_controls_leave_out_is_said(finals: list[Final]) -> None:
    finalist, twin = finals[:2]
    assert twin.costs is not None and finalist.costs is not None and twin.costs.products == 0
    assert lacking(finals) == []
    partial = replace(twin, costs=replace(twin.costs, products=8))
    (said,) = lacking([finalist, partial, *finals[2:]])
    assert f" 8 of {finalist.costs.products:,} products" in said
    none, branch, field = lacking([finalist])
    assert f"{finalist.name} has no additive twin" in none
    assert "No one-branch control" in branch and branch.endswith(f": {finalist.name}.")
    other = replace(finalist, name="other")
    assert [s for s in lacking([finalist, other]) if "one-branch" in s] == [f"{branch[:-1]}, other."]
    assert "no random candidate" in field
    assert "2 times" in opened_words(2)


def test_a_network_of_which_one_training_failed_has_no_figure(finals: list[Final], results: StudyResults) -> None:
    """Its seeds of earlier finals are fewer than those it would be compared with."""
    stored = results.book.user_attrs["finals"]
    finalist, twin, *rest = stored
    absent = {**twin["keys"][0], "seed": 99}
    failed = {**twin, "keys": [*twin["keys"], absent], "reason": "seed 99: training diverged"}
    results.book.set_user_attr("finals", [finalist, failed, *rest])
    try:
        seen = read_finals(results)
    finally:
        results.book.set_user_attr("finals", stored)
    assert (seen[1].estimate, seen[1].lead, seen[1].reason) == (None, None, "seed 99: training diverged")
    assert [seen[0], *seen[2:]] == [finals[0], *finals[2:]]


def test_the_model_card_has_the_test_accuracy_of_the_finals(finals: list[Final], results: StudyResults) -> None:
    """That of the architecture over fresh seeds; of a network outside the finals there is none."""
    chosen = {final.fingerprint for final in finals}
    for found in results.ranked:
        assert found.arch is not None
        known = facts(results, found)
        text = card(results.plan(found), known, None, (), "", "torch and timm", trained=True)
        assert f"| validation accuracy | {found.figures['val/accuracy']:.4f} ±" in text
        if found.arch.fingerprint not in chosen:
            assert "test accuracy" not in text and "No figure here is of the test split." in text
            continue
        seen = next(final.estimate for final in finals if final.fingerprint == found.arch.fingerprint)
        assert seen is not None and list(known.scores) == ["validation", "test"]
        said = f"{seen.mean:.4f} ({seen.low:.4f} to {seen.high:.4f}, 95 % interval; 2 fresh seeds, n = 360)"
        assert f"| test accuracy | {said} |" in text and "these weights were not scored on the test split" in text
    assert results.best.arch is not None and results.best.arch.fingerprint in chosen


@pytest.mark.slow
def test_interrupted_finals_have_not_opened_the_test_split(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    run_study(STUDY, home)

    def interrupt(progress: Progress) -> None:
        if "seed 2" in progress.label:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="'small'"):
        run_finals("small", home, top=1, seeds=2, candidates=0, watch=interrupt)
    results = open_study("small", home.path)
    assert read_finals(results) == []
    key = next(t.key for t in results.ledger.trainings() if t.key.seed == 1 and t.state == "complete")
    assert results.ledger.get_test(key) is None and openings(results) == 0
    finals = run_finals("small", home, top=1, seeds=2, candidates=9)  # of a space with four networks
    assert finals[-1].name == "best of 4 random (9 asked for)"


def test_other_data_are_refused(home: Home, finals: list[Final]) -> None:
    results = open_study("small", home.path)
    stored = results.book.user_attrs["study"]
    results.book.set_user_attr("study", {**stored, "digest": "0" * 16})
    try:
        with pytest.raises(StudyError, match=r"'small'.*changed"):
            run_finals("small", home)
    finally:
        results.book.set_user_attr("study", stored)


def test_one_test_image_is_refused_before_any_training(tmp_path: Path) -> None:
    digits = load_data("digits")
    (images,), labels = next(digits.train.batches(200, torch.device("cpu"), None))
    pixels = (images[:, 0] - images.min()).mul(20).clamp(0, 255).to(torch.uint8).numpy()
    parts = {"train": slice(0, 199), "test": slice(199, 200)}
    arrays = {f"{part}_images": pixels[cut] for part, cut in parts.items()}
    np.savez(tmp_path / "one.npz", **arrays, **{f"{part}_labels": labels[cut].numpy() for part, cut in parts.items()})
    home = new_home(tmp_path / "home")
    one = STUDY.model_copy(update={"name": "one", "data": DataSpec(source=str(tmp_path / "one.npz")), "baselines": {}})
    run_study(one, home)
    with pytest.raises(StudyError, match=r"one: .*test.* 1 image; .*two"):
        run_finals("one", home, seeds=1)
    assert not read_finals(open_study("one", home.path))


@pytest.fixture(scope="module")
def stressed(home: Home, finals: list[Final]) -> list[Stressed]:
    under = ("pgd:0.05", "noise:0.2", "noise:0.1", "weights:0.5", "channels:0.5")
    assert run_finals("small", home, top=1, seeds=2, candidates=2, under=under) == finals
    results = open_study("small", home.path)
    found = results.stressed
    results.ledger.close()
    return found


def test_each_network_is_scored_under_each_stress(
    stressed: list[Stressed], finals: list[Final], results: StudyResults
) -> None:
    by = {(one.stress, one.name): one for one in stressed}
    kinds = ["noise:0.1", "noise:0.2", "pgd:0.05", "weights:0.5", "channels:0.5"]
    assert list(dict.fromkeys(one.stress for one in stressed)) == kinds
    names = [one.name for one in stressed if one.stress == "pgd:0.05"]
    assert names == [final.name for final in finals]
    assert [one.name for one in stressed if one.stress == "channels:0.5"] == [n for n in names if n != "net"]
    data = load_data("digits")
    for final, entry in zip(finals, results.book.user_attrs["finals"], strict=True):
        arch = results.architecture(final.fingerprint)
        assert arch is not None and final.estimate is not None and final.costs is not None
        plan = make_plan(arch, results.task())
        zeroed = []
        for key in entry["keys"]:
            training = results.ledger.training(TrainingKey(**key))
            assert training is not None and training.weights is not None
            network = without_small_weights(trained(plan, results.home.path / training.weights), 0.5)
            zeroed.append(score_module(network, data, "test").accuracy)
        found = by["weights:0.5", final.name]
        assert found.estimate.mean == pytest.approx(sum(zeroed) / 2)
        assert found.lost.mean == pytest.approx(final.estimate.mean - found.estimate.mean)
        assert found.macs == final.costs.macs and found.params < final.costs.params
        if final.lead is not None:
            assert found.lead is not None
            first = by["weights:0.5", finals[0].name]
            assert found.lead.mean == pytest.approx(first.estimate.mean - found.estimate.mean)
    for name in names[:3]:
        assert by["channels:0.5", name].params < by["noise:0.1", name].params
        assert by["channels:0.5", name].macs < by["noise:0.1", name].macs


def test_stress_is_shown_and_stays(stressed: list[Stressed], home: Home, results: StudyResults, capsys: Any) -> None:
    show_stressed("small", stressed)
    assert "finals under stress, n = 360" in capsys.readouterr().out
    tracker = Tracker(home.tracking_uri, home.artifacts, "small")
    for run in tracker.client.search_runs([tracker.experiment_id], "tags.`hadnas.kind` = 'final'"):
        one = next(one for one in stressed if (one.stress, f"final {one.name}") == ("noise:0.2", run.info.run_name))
        assert run.data.metrics["stress/noise/0.2"] == pytest.approx(one.estimate.mean)
    page = write_report(results).read_text()
    assert "Finals under stress" in page and page.count("pgd:0.05") >= 5
    run_finals("small", home, top=1, seeds=2, candidates=2)  # without stresses: those that were scored remain
    assert open_study("small", home.path).stressed == stressed


def test_an_export_without_channels_is_the_narrow_network(home: Home, stressed: list[Stressed], tmp_path: Path) -> None:
    study = open_study("small", home.path)
    said = (study.export(study.best, tmp_path / "narrow", prune="channels:0.5") / "README.md").read_text()
    narrow = next(one for one in stressed if (one.stress, one.name) == ("channels:0.5", study.best.name))
    assert f"| parameters | {narrow.params:,} |" in said and f"| MACs | {narrow.macs:,} |" in said
    assert "pruned after its training (channels:0.5)" in said
    assert "images like those of digits" in said and "is optimistic" in said  # the limits of its training hold, too
    zeroed = load_file(study.export(study.best, tmp_path / "zeroed", prune="weights:0.5") / "model.safetensors")
    layers = [one for one in zeroed.values() if one.ndim in (2, 4)]
    share = sum(int((one == 0).sum()) for one in layers) / sum(one.numel() for one in layers)
    assert share == pytest.approx(0.5, abs=1e-3)
