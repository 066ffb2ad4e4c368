"""A user's training loop in plain Optuna: suggested architectures, trials in MLflow; blocks of packages."""

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

import hadnas
from docs.generate import DOCS
from hadnas.samplers.sampler import make_sampler

TASK = hadnas.Task.image(1, 8, 8, classes=10)
SPACE = hadnas.op(
    "pyramid",
    stem=hadnas.op("conv_norm", dim=8, stride=1),
    head=hadnas.op("pooled_linear"),
    stages=[
        {
            "dim": hadnas.one_of(8, 16),
            "down": hadnas.op("conv_norm"),
            "blocks": [
                hadnas.op(
                    "residual",
                    merge=hadnas.op("add"),
                    block=hadnas.one_of(hadnas.op("attention", heads=hadnas.one_of(3, 4)), hadnas.op("star")),
                )
            ],
        }
    ],
)


def test_optuna_chooses_every_option_and_a_draw_that_breaks_a_rule_is_pruned() -> None:
    study = optuna.create_study(sampler=make_sampler("exhaustive")(0))
    seen: list[str] = []

    def objective(trial: optuna.Trial) -> float:
        arch = hadnas.suggest(trial, SPACE, TASK)
        seen.append(arch.fingerprint)
        return float(sum(p.numel() for p in hadnas.build(arch, TASK).parameters()))

    study.optimize(objective)
    pruned = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert len(study.trials) == 6 and len(set(seen)) == 4 and len(pruned) == 2
    assert all(3 in trial.params.values() for trial in pruned)


def test_the_surrogate_takes_an_objective_of_ones_own_beside_a_known_cost() -> None:
    objectives = {"val/iou": "maximize", "macs": "minimize"}
    sampler = hadnas.SurrogateSampler(hadnas.prospects(SPACE, TASK, objectives), n_startup_trials=2)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    seen: list[str] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        arch = hadnas.suggest(trial, SPACE, TASK)
        seen.append(arch.fingerprint)
        return len(seen) / 10, hadnas.cost(hadnas.build(arch, TASK), TASK.shape).macs

    study.optimize(objective, n_trials=4)
    assert len(set(seen)) == 4  # of the four valid networks, each once and none that breaks a rule


def test_a_logged_trial_is_a_run_as_those_of_a_search(tmp_path: Path) -> None:
    sampler = hadnas.SurrogateSampler(hadnas.prospects(SPACE, TASK, {"val/iou": "maximize"}))
    study = optuna.create_study(study_name="mine", direction="maximize", sampler=sampler)
    trial = study.ask()
    arch = hadnas.suggest(trial, SPACE, TASK)
    with pytest.raises(hadnas.HadnasError, match=r"figures = \{\}"):
        hadnas.log_trial(trial, arch, TASK, {}, home=tmp_path)
    run_id = hadnas.log_trial(trial, arch, TASK, {"val/iou": 0.5}, home=tmp_path)
    client = MlflowClient(hadnas.Home(tmp_path).tracking_uri)
    run = client.get_run(run_id)
    macs = hadnas.cost(hadnas.build(arch, TASK), TASK.shape).macs
    assert run.info.status == "FINISHED" and run.data.metrics["val/iou"] == 0.5 and run.data.metrics["macs"] == macs
    assert {name: str(value) for name, value in trial.params.items()}.items() <= run.data.params.items()
    assert {"arch.json", "cost.csv", "model.py"} <= {file.path for file in client.list_artifacts(run_id)}
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.name == "hadnas/mine" and "val/iou" in experiment.tags["mlflow.sharedViewState.hadnas"]
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.info.status == "FINISHED"
    for direction, ascending in (("maximize", False), ("minimize", True)):
        other = optuna.create_study(study_name=direction, direction=direction).ask()
        logged = client.get_run(hadnas.log_trial(other, arch, TASK, {"val/error": 0.5}, home=tmp_path))
        tags = client.get_experiment(logged.info.experiment_id).tags
        assert json.loads(tags["mlflow.sharedViewState.hadnas"])["orderByAsc"] is ascending


@pytest.mark.slow
def test_the_example_of_the_docs_trains_and_logs(tmp_path: Path) -> None:
    command = [sys.executable, str(DOCS / "segmentation.py"), "--trials", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    best = [line for line in done.stdout.splitlines() if line.startswith("trial")]
    assert best and all(float(line.split()[4]) > 0.45 for line in best)  # a network that only finds shapes has 0.2
    client = MlflowClient(hadnas.Home(tmp_path / "runs").tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/segmentation")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`hadnas.kind` = 'trial'")
    assert len(runs) == 2 and all(0 < run.data.metrics["val/iou"] < 1 for run in runs)


LAYERS = """
from torch import Tensor, nn
class Scale(nn.Module):
    def __init__(self, dim: int, device=None, dtype=None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)
    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(x)
"""
BLOCK = """
from typing import Any
from torch import Tensor, nn
from hadnas import block
from .layers import Scale
@block(family="hadamard")
class Packaged(nn.Module):
    \"\"\"A product.\"\"\"
    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.scale = Scale(dim, device=device, dtype=dtype)
    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x)
"""
EXPORT = """
import sys, hadnas
{load}
task = hadnas.Task.image(1, 8, 8, classes=10)
stage = {{"dim": 8, "down": hadnas.op("conv_norm"), "blocks": [hadnas.op("packaged")]}}
space = hadnas.op("pyramid", stem=hadnas.op("conv_norm", dim=8), head=hadnas.op("pooled_linear"), stages=[stage])
hadnas.export(hadnas.sample(space, task), task, "out")
"""


def run(code: str, folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": f"{path}:{Path(hadnas.__file__).parents[1]}", "PATH": ""}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "lib" / "mypackage"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "layers.py").write_text(LAYERS)
    (folder / "star.py").write_text(BLOCK)
    return folder


@pytest.mark.slow
def test_a_file_of_a_package_may_import_its_neighbours(package: Path, tmp_path: Path) -> None:
    load = f"from hadnas.library import load_ops; assert [o.name for o in load_ops({str(package / 'star.py')!r})]"
    done = run(EXPORT.format(load=load), tmp_path, tmp_path)
    assert done.returncode == 0, done.stderr
    code = (tmp_path / "out" / "model.py").read_text()
    assert "class Scale" in code and "class Packaged" in code and "mypackage" not in code


@pytest.mark.slow
def test_blocks_of_an_installed_package_are_found_by_its_entry_point(package: Path, tmp_path: Path) -> None:
    info = tmp_path / "lib" / "mypackage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hadnas.blocks]\nstar = mypackage.star\n")
    done = run(EXPORT.format(load=""), tmp_path, tmp_path / "lib")
    assert done.returncode == 0, done.stderr
    assert "class Packaged" in (tmp_path / "out" / "model.py").read_text()
    (package / "star.py").write_text("import nowhere")
    broken = run(
        "import hadnas; hadnas.load('hadabench'); from hadnas.blocks.registry import ops; ops()",
        tmp_path,
        tmp_path / "lib",
    )
    assert broken.returncode == 1
    for fact in ("SpecError", "the package mypackage", "star = mypackage.star", "nowhere"):
        assert fact in broken.stderr
