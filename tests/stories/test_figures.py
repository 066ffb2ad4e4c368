"""A figure is one entry of the table: everything that knows figures follows from it."""

from pathlib import Path

import mlflow
import pytest

from docs.generate import figures
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.hosts.build import build
from hadnas.measure.cost import cost
from hadnas.measure.figures import TABLE, Figure
from hadnas.opened import open_study
from hadnas.search.run import run_study
from hadnas.shell.commands.overrides import updated_study
from hadnas.shell.tables.study import show_top
from hadnas.space import every, one_of, op
from tests.homes import new_home, study
from tests.networks import pyramid, residual

DENSITY = Figure(
    name="macs_per_byte",
    label="MACs per byte",
    unit="",
    direction="minimize",
    about="MACs per byte moved",
    source="cost",
    of=lambda cost: cost.macs / cost.bytes_moved,
    places=("top", "report", "card", "measure"),
    text="{:.4f}".format,
)


def test_an_entry_is_enough_for_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TABLE, DENSITY.name, DENSITY)
    space, task = pyramid((8, [residual(op("mlp", expand=one_of(1, 4)))])), Task.image(1, 8, 8, classes=10)
    archs = [complete(draw, task) for _, draw in every(space)]
    counted = [cost(build(arch, task, device="meta"), task.shape) for arch in archs]
    least, most = sorted(found.macs / found.bytes_moved for found in counted)
    plain = study(space=space, objectives=("val/accuracy", DENSITY.name), sampler="exhaustive", trials=2)
    chosen = updated_study(plain, max_macs_per_byte=f"{(least + most) / 2}")
    assert list(chosen.constraints) == [DENSITY.name] and chosen.directions == ["maximize", "minimize"]
    home = new_home(tmp_path)
    run_study(chosen, home)
    results = open_study("tiny", tmp_path)
    (best,), (refused,) = results.front, results.refused
    assert best.figures[DENSITY.name] == least and refused.figures[DENSITY.name] == most
    assert (refused.reason or "").startswith("macs_per_byte = ")
    assert [trial.values[1] for trial in results.book.trials if trial.values] == [least]
    assert sorted(results.trials[DENSITY.name]) == [least, most]
    assert best.run_id is not None
    assert mlflow.MlflowClient(home.tracking_uri).get_run(best.run_id).data.metrics[DENSITY.name] == least
    show_top("tiny", home, 5)
    shown = capsys.readouterr().out
    assert "MACs per byte" in shown and f" {least:.4f} " in shown
    assert "`macs_per_byte`" in figures()


def test_texts_and_values() -> None:
    macs, moved = TABLE["macs"], TABLE["bytes_moved"]
    assert (macs.text(1234567), macs.brief(1234567), macs.brief(999)) == ("1,234,567", "1.23M", "999")
    assert moved.text(3 << 19) == moved.brief(3 << 19) == "1.5 MiB"
    assert TABLE["latency_ms"].text(0.1234) == "0.123 ms"
