"""The front and the baselines on other backends: taken once, seen in MLflow and in `top`; a failure ends no study."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

from hadnas.errors import MeasurementError, UnknownName
from hadnas.opened import open_study
from hadnas.results.comparison import Comparison, comparison
from hadnas.search.latency.compare import backends
from hadnas.search.run import run_study
from hadnas.shell.commands.overrides import updated_study
from hadnas.shell.tables.study import show_top
from hadnas.source.user_file import run_file
from hadnas.space import op
from hadnas.store.home import Home
from hadnas.store.listing import rows
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe
from tests.homes import new_home
from tests.networks import pyramid, residual

OPAQUE = '''
from typing import Any

import torch
from torch import Tensor, nn

from hadnas import block


@block(family="convolution")
class Opaque(nn.Module):
    """A map that runs and trains, but has no graph to export."""

    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None):
        super().__init__()
        self.map = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            raise ValueError("this block has no graph")
        return self.map(x)
'''


def study(**changes: Any) -> Study:
    fields = {
        "name": "small",
        "space": pyramid((8, [residual(op("mlp", expand=1))])),
        "recipe": Recipe(epochs=1, batch=512),
        "trials": 1,
        "baselines": {"plain": pyramid((8, []))},
    }
    return Study(**{**fields, **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which the study ran on eager, and then the same command with ONNX Runtime."""
    home = new_home(tmp_path_factory.mktemp("home"))
    (home.path / "opaque.py").write_text(OPAQUE)
    run_file(home.path / "opaque.py")
    opaque = study(space=pyramid((8, [residual(op("opaque"))])), source=str(home.path / "opaque.py"))
    run_study(opaque, home)
    assert comparison(open_study("small", home.path)).rows == {}
    assert run_study(updated_study(opaque, backends="onnxruntime"), home).done == 1
    return home


@pytest.mark.slow
def test_front_and_baselines_are_taken_and_logged_and_a_failure_leaves_its_reason(home: Home) -> None:
    results = open_study("small", home.path)
    (candidate,), (plain,) = results.front, results.baselines
    found = comparison(results)
    assert found.backends == ["eager", "onnxruntime"] and set(found.rows) == {candidate.name, "plain"}
    assert "this block has no graph" in found.rows[candidate.name]["onnxruntime"]["reason"]
    client = mlflow.MlflowClient(home.tracking_uri)
    for one, taken in ((candidate, {"eager"}), (plain, {"eager", "onnxruntime"})):
        assert one.arch is not None and one.run_id is not None
        mine = [row for row in rows(results.ledger, "latencies") if row["fingerprint"] == one.arch.fingerprint]
        assert sorted(row["protocol_json"]["backend"] for row in mine) == sorted(taken)
        data = client.get_run(one.run_id).data
        metrics = data.metrics
        assert {name.partition(".")[2] for name in metrics if "." in name} == taken
        for row in mine:
            backend = row["protocol_json"]["backend"]
            assert found.rows[one.name][backend]["ratio"] == row["figures"]["ratio"] > 0
            assert metrics[f"latency_ratio.{backend}"] == row["figures"]["ratio"]
            assert metrics[f"latency_ms.{backend}"] == row["figures"]["median_ms"] > 0
            assert metrics[f"latency_noisy.{backend}"] == row["figures"]["noisy"]
            assert json.loads(data.tags[f"hadnas.latency.{backend}"]) == row["protocol_json"]
        assert metrics["latency_ratio"] == metrics["latency_ratio.eager"]  # not timed a second time


@pytest.mark.slow
def test_a_finished_study_is_timed_once_by_the_same_command(tmp_path: Path) -> None:
    plain = study(latency=None)
    home = new_home(tmp_path)
    run_study(plain, home)
    assert comparison(open_study("small", tmp_path)).rows == {}
    said: list[str] = []
    for _ in range(2):
        done = run_study(updated_study(plain, backends="eager"), home, watch=lambda now: said.append(now.label))
        assert done.done == 1
    assert [label for label in said if " on " in label] == ["trial-0000 on eager", "plain on eager"]
    found = comparison(open_study("small", tmp_path))
    assert set(found.rows) == {"trial-0000", "plain"} and found.backends == ["eager"]
    assert len(rows(open_study("small", tmp_path).ledger, "latencies")) == 2


@pytest.mark.slow
def test_top_shows_the_table_the_ranking_and_the_failure(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    show_top("small", home, 5)
    shown = capsys.readouterr().out
    assert "Latency by backend" in shown and "onnxruntime: ratio (ms)" in shown
    assert "onnxruntime against eager: no pair changes places" in shown
    assert "trial-0000 has no latency on onnxruntime: " in shown and "this block has no graph" in shown


def figures(ratio: float, spread: float = 0.01) -> dict[str, Any]:
    return {"ratio": ratio, "ratio_iqr": spread, "median_ms": ratio, "noisy": False}


def test_only_pairs_that_are_apart_on_both_backends_change_places() -> None:
    rows = {
        "a": {"eager": figures(1.0), "compile": figures(1.5)},
        "b": {"eager": figures(1.2), "compile": figures(1.0)},  # overtakes a
        "c": {"eager": figures(1.03), "compile": figures(1.2)},  # not apart from a on eager; b overtakes it
        "d": {"eager": figures(1.5), "compile": figures(0.98)},  # not apart from b on compile; overtakes a and c
        "e": {"eager": figures(2.0, 0.9), "compile": figures(0.5)},  # too noisy on eager, but for nothing
        "f": {"eager": figures(0.1), "compile": {"reason": "failed"}},
    }
    turned, pairs = Comparison(rows).pairs("compile")
    assert set(turned) == {("a", "b"), ("c", "b"), ("a", "d"), ("c", "d"), ("a", "e"), ("c", "e")} and pairs == 10


def test_which_backends_a_study_takes() -> None:
    assert backends(study()) == ()
    assert backends(study(backends=["compile"])) == ("eager", "compile")
    assert backends(study(latency="compile", backends=["onnxruntime"])) == ("eager", "compile", "onnxruntime")
    assert updated_study(study(), backends="compile, onnxruntime").backends == ("compile", "onnxruntime")
    with pytest.raises(UnknownName, match=r"backend 'tvm' .*compile, eager, int8, onnxruntime"):
        updated_study(study(), backends="tvm")


def test_a_missing_extra_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("hadnas.measure.onnx.find_spec", lambda name: None if name == "onnx" else real(name))
    for wanted in ({"backends": ["onnxruntime"]}, {"latency": "onnxruntime"}):
        with pytest.raises(MeasurementError, match=r"needs the extra 'onnx' \(onnx is not installed\): pip install"):
            run_study(study(**wanted), Home(tmp_path))
    assert not (tmp_path / "hadnas.db").exists()
