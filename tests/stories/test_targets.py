"""Labels and values as well as classes, and metrics other than accuracy: from a file to the exported network."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import SpecError
from hadnas.exporter.folder import export
from hadnas.hosts.build import build_plan, save_weights
from hadnas.hosts.host import make_plan
from hadnas.opened import open_study
from hadnas.results.finals.finals import read_finals
from hadnas.results.report import write_report
from hadnas.search.finals import run_finals
from hadnas.search.run import run_study
from hadnas.space import op
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.train.data.spec import Data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import fit
from tests.homes import new_home, study
from tests.networks import TINY_SPACE, pyramid, residual
from tests.pictures import npz
from tests.shell import hadnas as shell
from tests.targets import TARGETS, target_data, target_file

ALONE = """
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hadnas":
            raise ImportError("hadnas is blocked")
sys.meta_path.insert(0, Blocked())
folder, file, kind = sys.argv[1:]
sys.path.insert(0, folder)
import numpy as np, torch
from sklearn import metrics as m
from model import build_model
network = build_model(pretrained=True).eval()
data = np.load(file)
cfg = network.pretrained_cfg
with torch.inference_mode():
    pixels = torch.from_numpy(data["images"]).float()[:, None] / 255
    out = network((pixels - cfg["mean"][0]) / cfg["std"][0]).double()
y = data["targets"]
if kind == "classes":
    p, best = out.softmax(1).numpy(), out.argmax(1).numpy()
    found = {
        "accuracy": m.accuracy_score(y, best), "top5_accuracy": m.top_k_accuracy_score(y, p, k=5),
        "balanced_accuracy": m.balanced_accuracy_score(y, best), "macro_f1": m.f1_score(y, best, average="macro"),
        "cohen_kappa": m.cohen_kappa_score(y, best), "log_loss": m.log_loss(y, p),
        "macro_roc_auc": m.roc_auc_score(y, p, multi_class="ovr", average="macro"),
    }
elif kind == "labels":
    p = out.sigmoid().numpy()
    found = {
        "mean_average_precision": m.average_precision_score(y, p), "subset_accuracy": m.accuracy_score(y, p > 0.5),
        "macro_f1": m.f1_score(y, p > 0.5, average="macro"), "macro_roc_auc": m.roc_auc_score(y, p),
    }
else:
    v = out.numpy()
    found = {
        "r2": m.r2_score(y, v), "mean_absolute_error": m.mean_absolute_error(y, v),
        "rmse": m.root_mean_squared_error(y, v),
    }
print(json.dumps(found))
"""


def alone(out: Path, data: Data, kind: str, folder: Path) -> dict[str, float]:
    """The metrics that scikit-learn gives an exported network on the validation split, in a process without hadnas."""
    pixels = np.stack([data.val.images[place][0][0].numpy() for place in range(len(data.val))])
    np.savez(folder / "val.npz", images=pixels, targets=data.val.labels.numpy())
    arguments = [sys.executable, "-P", "-c", ALONE, str(out), str(folder / "val.npz"), kind]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("kind", TARGETS)
def test_metrics_are_those_of_scikit_learn_on_the_exported_network_without_hadnas(kind: str, tmp_path: Path) -> None:
    data = target_data(tmp_path, kind)
    task = Task.image(*data.shape, **{data.target: data.classes})
    plan = make_plan(complete(pyramid((16, [residual(op("star", expand=2, kernel=3))]))).node, task)
    torch.manual_seed(0)
    network = build_plan(plan)
    score = fit(network, data, Recipe(epochs=8, batch=16), seed=0).score
    save_weights(network, tmp_path / "weights.safetensors")
    out = export(
        plan,
        task,
        tmp_path / "out",
        tmp_path / "weights.safetensors",
        moments=(data.mean, data.std),
        class_names=data.class_names,
    )
    expected = alone(out, data, kind, tmp_path)
    assert expected == pytest.approx({name: score.metrics[name] for name in expected}, rel=1e-5)
    assert set(score.metrics) - set(expected) == ({"calibration_error"} if kind == "classes" else set())
    card = (out / "README.md").read_text()
    assert {"classes": "into 10 classes", "labels": "3 labels", "values": "2 values"}[kind] in card
    assert ("in the units of the training data" in card) == (kind == "values")
    assert ("in the units of its training data" in (out / "model.py").read_text()) == (kind == "values")
    assert (out / "class_map.txt").exists() == (kind == "classes")


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a finished study of values, its finals and its report."""
    place = tmp_path_factory.mktemp("values")
    home = new_home(place / "home")
    recipe = Recipe(epochs=3, batch=16)
    run_study(study(data=target_file(place, "values"), recipe=recipe, trials=2), home, device="cpu")
    run_finals("tiny", home, seeds=2, top=1, candidates=0, device="cpu")
    write_report(open_study("tiny", home.path))
    return home


def test_a_study_of_values_is_judged_by_r2_in_all_displays(values: Home) -> None:
    results = open_study("tiny", values.path)
    assert results.study.objectives == ("val/r2", "macs") and results.study.metric == "r2"
    assert str(results.task()) == "image=1x8x8 -> 2 values" and results.class_names() == ("price", "ink")
    best = results.best
    assert best.value == max(found.figures["val/r2"] for found in results.found) and best.standard_error > 0
    table = results.trials_dataframe(full=True)
    assert {"val/r2", "val/rmse", "val/loss"} < set(table) and "val/accuracy" not in table
    assert "val/r2" in results.trials and "val/rmse" not in results.trials
    assert "(1x8x8, 2 values)" in repr(results) and f"val/r2 {best.value:.4f}" in repr(best)
    assert results.pick(metric="val/rmse").figures["val/rmse"] == min(
        found.figures["val/rmse"] for found in results.found
    )
    assert results.plot_front().axes[0].get_ylabel() == "validation r2 (± 1 standard error)"
    training = results.training(best)
    assert training is not None and training.metrics["r2"] == best.value and "accuracy" not in training.metrics
    assert [set(point.metrics) for point in training.curve] == [{"r2", "mean_absolute_error", "rmse"}] * 3
    top = shell("top", "tiny", "--home", values.path).output
    assert "validation r2 on n = 20" in top and f"{best.value:.4f} ± {best.standard_error:.4f}" in top
    (final, *_) = read_finals(results)
    assert final.metric == "r2" and final.estimate is not None and final.estimate.low < final.estimate.mean
    assert (
        "test/r2" in shell("finals", "tiny", "--home", values.path, "--top", 1, "--candidates", 0, "--seeds", 2).output
    )
    page = (values.path / "tiny" / "report.html").read_text()
    assert "Best validation r2" in page and "predicted" in page and "accuracy" not in page.lower()
    client = mlflow.MlflowClient(values.tracking_uri)
    files = {item.path for item in client.list_artifacts(str(best.run_id), "predictions")}
    assert files == {"predictions/values.csv", "predictions/drawing.svg"}
    run = client.get_run(str(best.run_id))
    assert run.data.metrics["val/rmse"] == pytest.approx(best.figures["val/rmse"])
    assert len(client.get_metric_history(str(best.run_id), "val/r2")) == 3


def test_finals_of_values_pair_seeds_and_images(values: Home) -> None:
    """The estimate is the mean over seeds of R2 on the test split, the lead that of the finalist."""
    results = open_study("tiny", values.path)
    finals = read_finals(results)
    for final in finals:
        assert final.estimate is not None and (final.estimate.seeds, final.estimate.n) == (2, 24)
        assert final.estimate.high - final.estimate.mean == pytest.approx(final.estimate.mean - final.estimate.low)
        if final.lead is not None and finals[0].estimate is not None:
            assert final.lead.mean == pytest.approx(finals[0].estimate.mean - final.estimate.mean)


@pytest.mark.slow
def test_the_exported_winner_gives_the_figures_of_the_study_without_hadnas(values: Home, tmp_path: Path) -> None:
    results = open_study("tiny", values.path)
    out = results.export(results.best, tmp_path / "out")
    card = (out / "README.md").read_text()
    assert "| validation r2 |" in card and "| test r2 |" in card and "another r2" in card
    assert alone(out, results.data(), "values", tmp_path) == pytest.approx(
        {name: results.best.figures[f"val/{name}"] for name in ("r2", "mean_absolute_error", "rmse")}, rel=1e-5
    )


def test_another_metric_trains_nothing_again_and_scores_old_trainings_by_their_weights(tmp_path: Path) -> None:
    home, file = new_home(tmp_path / "home"), target_file(tmp_path, "classes")
    recipe = Recipe(epochs=2, batch=16)
    run_study(study(data=file, recipe=recipe, trials=1), home, device="cpu")
    first = open_study("tiny", home.path).best
    judged = study(name="fair", data=file, recipe=recipe, trials=1, metric="macro_f1")
    assert judged.objectives == ("val/macro_f1", "macs")
    run_study(judged, home, device="cpu")
    fair = open_study("fair", home.path).best
    assert fair.notes["reused"] and fair.value == first.figures["val/macro_f1"] != first.value
    weights = home.path / str(first.notes["weights"])
    weights.with_suffix(".val.safetensors").unlink()
    with sqlite3.connect(home.path / "hadnas.db") as base:  # as version 5 wrote it
        base.execute("update hadnas_training set metrics = null")
        base.execute("update hadnas_epoch set metrics = null")
    run_study(judged.model_copy(update={"name": "again"}), home, device="cpu")
    again = open_study("again", home.path).best
    assert (again.value, again.standard_error) == (fair.value, fair.standard_error) and again.notes["reused"]
    assert first.standard_error != fair.standard_error > 0


def test_a_metric_follows_into_the_objectives_and_stored_studies_keep_their_form(tmp_path: Path) -> None:
    plain = Study(name="s", space=TINY_SPACE)
    assert plain.metric_figure == "val/accuracy" and "metric" not in plain.model_dump()
    assert plain.for_target("classes", 10) is plain
    assert plain.for_target("labels", 3).objectives == ("val/mean_average_precision", "macs")
    both = Study(name="s", space=TINY_SPACE, objectives=("macs", "val/macro_f1"))
    assert both.metric_figure == "val/macro_f1" and both.for_target("labels", 3) is both
    assert Study(name="s", space=TINY_SPACE, metric="log_loss").directions == ["minimize", "minimize"]
    with pytest.raises(SpecError, match="'accuracy' does not fit a target of 2 values; allowed are r2"):
        Study(name="s", space=TINY_SPACE, metric="accuracy").for_target("values", 2)
    with pytest.raises(ValueError, match="allowed are objectives with val/macro_f1"):
        Study(name="s", space=TINY_SPACE, metric="macro_f1", objectives=("val/accuracy", "macs"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metric", "balanced"), "unknown metric 'balanced'; did you mean 'balanced_accuracy'"),
        (("--metric", "r2"), "metric = 'r2' does not fit a target of 10 classes; allowed are accuracy, top5_accuracy"),
        (("--class-weights", "1,2"), "class_weights has 2 numbers; allowed is one for each of 10 classes"),
        (("--class-weights", "much"), "--class-weights 'much' is not allowed"),
        (("--metric", "macro_f1"), "class '9' has no image in the val split"),
    ],
)
def test_what_does_not_fit_the_target_is_refused_before_any_work(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    labels = np.arange(120) % 10
    some = npz(tmp_path, train_labels=labels, val_images=np.zeros((9, 8, 8), np.uint8), val_labels=labels[:9])
    done = shell("search", "digits", "--data", some, "--batch", 16, "--home", tmp_path / "runs", *options)
    assert done.exit_code == 2 and said in done.output.replace("\n", " "), done.output
    assert not (tmp_path / "runs" / "hadnas.db").exists()


def test_options_of_the_command_line_reach_the_recipe(tmp_path: Path) -> None:
    from hadnas.library import load_study
    from hadnas.shell.commands.overrides import updated_study

    made = updated_study(load_study("digits"), metric="macro_f1", class_weights="balanced", balanced=True)
    assert made.metric == "macro_f1" and made.objectives == ("val/macro_f1", "macs")
    assert (made.recipe.class_weights, made.recipe.sampling) == ("balanced", "balanced")
    assert updated_study(load_study("digits"), class_weights="1, 2.5").recipe.class_weights == (1.0, 2.5)
