"""The commands as a person types them: what they print."""

import csv
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from hadnas.errors import SpecError
from hadnas.measure.cost import cost
from hadnas.measure.latency.latency import protocol, protocol_key
from hadnas.measure.latency.reference import NAME
from hadnas.opened import open_study
from hadnas.results.statistics import Correlation
from hadnas.search.finals import run_finals
from hadnas.search.latency.predictor import Predictor, cost_features, digest
from hadnas.store.home import Home
from tests.homes import new_home
from tests.shell import hadnas

MINE = '''
"""A space of one's own with a block of one's own."""

from typing import Any

from torch import Tensor, nn

from hadnas import Recipe, Study, block, one_of, op, repeat


@block(family="hadamard")
class Squared(nn.Module):
    """Two pointwise maps, multiplied."""

    def __init__(self, dim: int, *, expand: int = 2, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.up = nn.Conv2d(dim, 2 * expand * dim, 1, device=device, dtype=dtype)
        self.down = nn.Conv2d(expand * dim, dim, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.up(x).chunk(2, dim=1)
        return self.down(a * b)


BODY = op("residual", norm="batchnorm2d", block=op("squared", expand=one_of(1, 2, 4)), merge=op("add"))
STAGE = {"dim": 8, "down": op("conv_norm"), "blocks": repeat(BODY, 1)}
SPACE = op("pyramid", stem=op("conv_norm", dim=8, stride=1), head=op("pooled_linear"), stages=[STAGE])
STUDY = Study(space=SPACE, recipe=Recipe(epochs=1, batch=128), trials=2, latency=None)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of one's own, and a home in which its study ran."""
    place = tmp_path_factory.mktemp("place")
    (place / "mine.py").write_text(MINE)
    new_home(place / "runs")
    done = hadnas("search", place / "mine.py", "--home", place / "runs")
    assert done.exit_code == 0, done.output
    return place


def test_search_shows_progress_and_a_leaderboard(place: Path) -> None:
    again = hadnas("search", place / "mine.py", "--home", place / "runs")
    assert again.exit_code == 0
    assert "the budget of 2 architectures is met" in again.output
    assert "mine: 2 architectures, validation accuracy on n = 288" in again.output
    grown = hadnas("search", place / "mine.py", "--home", place / "runs", "--trials", 3)
    assert grown.exit_code == 0 and "mine: 2/3 done" in grown.output and "3 architectures" in grown.output


def test_top_shows_leaderboard_and_front(place: Path) -> None:
    shown = hadnas("top", "mine", "--home", place / "runs").output
    for text in ("val/accuracy", "Pareto front of val/accuracy, macs", "±"):
        assert text in shown
    assert "H1 A0 C0 T0  H0 A1 C0 T0" in shown  # a block, and its merge
    assert "Best of each family" not in shown  # the leaderboard has them
    assert "H hadamard, A additive, C convolution, T attention" in shown


@pytest.mark.parametrize(("what", "least"), [({"seeds": 0}, 1), ({"top": 0}, 1), ({"candidates": -1}, 0)])
def test_numbers_of_finals_are_checked_before_any_work(place: Path, what: dict[str, int], least: int) -> None:
    ((name, value),) = what.items()
    with pytest.raises(SpecError, match=rf"{name} = {value}.*allowed: {least}\b"):
        run_finals("mine", Home(place / "runs"), **what)


def test_the_name_of_a_stored_study_is_for_work(place: Path) -> None:
    asked = hadnas("search", "mine", "--home", place / "runs")
    assert asked.exit_code == 2 and "`hadnas work mine`" in asked.output, asked.output
    nowhere = hadnas("search", "mine", "--home", place / "none")
    assert nowhere.exit_code == 2 and "activation_free" in nowhere.output and not (place / "none").exists()


def test_finals_and_report_of_a_study(place: Path) -> None:
    options = ("--home", place / "runs", "--top", 1, "--seeds", 2, "--candidates", 0)
    held = hadnas("finals", "mine", *options)
    assert held.exit_code == 0, held.output
    assert "mine: finals, test accuracy" in held.output and "2 seeds and n = 360 images" in held.output
    written = hadnas("report", "mine", "--home", place / "runs", "--out", place / "page.html")
    assert written.exit_code == 0, written.output
    assert (
        "Fresh seeds: 2; test images: 360; intervals count the seeds and the images;"
        in (place / "page.html").read_text()
    )
    nothing = hadnas("report", "yours", "--home", place / "runs")
    assert nothing.exit_code == 2 and "unknown study" in nothing.output


@pytest.mark.slow
def test_export_takes_ones_own_block_along(place: Path) -> None:
    done = hadnas("export", "mine", "--home", place / "runs", "--out", place / "best", "--blocks", place / "mine.py")
    assert done.exit_code == 0, done.output
    assert "highest validation accuracy among feasible trials, ties by fewest MACs" in done.output
    assert "class Squared(nn.Module):" in (place / "best" / "model.py").read_text()
    node = json.loads((place / "best" / "arch.json").read_text())
    assert node["stages"][0]["blocks"][0]["block"]["op"] == "squared"
    again = hadnas("export", "mine", "--home", place / "runs", "--out", place / "best")
    assert again.exit_code == 2 and "already has files" in again.output


def test_other_data_by_path(tmp_path: Path) -> None:
    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)[:400]
    np.savez(tmp_path / "mine.npz", train_images=images, train_labels=digits.target[:400])
    arguments = ("--data", tmp_path / "mine.npz", "--trials", 1, "--epochs", 1, "--max-macs", "50M")
    done = hadnas("search", "star_or_sum", *arguments, "--home", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    assert "star_or_sum-mine: 1 architectures, validation accuracy on n = 64" in done.output
    (tmp_path / "moved").mkdir()
    moved = (tmp_path / "mine.npz").rename(tmp_path / "moved" / "mine.npz")
    again = hadnas("search", "star_or_sum", "--data", moved, *arguments[2:], "--home", tmp_path / "runs")
    assert again.exit_code == 0, again.output  # the same images, wherever they lie
    assert open_study("star_or_sum-mine", tmp_path / "runs").data().name == "mine"
    np.savez(moved, train_images=images[:300], train_labels=digits.target[:300])
    other = hadnas("search", "star_or_sum", "--data", moved, *arguments[2:], "--home", tmp_path / "runs")
    assert other.exit_code == 2 and "exists and differs (digest of its images, as read and split: " in other.output
    longer = hadnas(
        "search", "star_or_sum", "--data", moved, *arguments[2:4], "--epochs", 2, "--home", tmp_path / "runs"
    )
    assert "differs (constraints.macs: 50000000.0 became null; recipe.epochs: 1 became 2)" in " ".join(
        longer.output.split()
    )


REOPEN = """
import sys, hadnas
study = hadnas.open_study("mine", home=sys.argv[1])
print(study.best.name, study.task(), len(study.moments()[0]), study.best.family, end=" ")
import mine
print(study.best.family, type(study.network(study.best)).__name__)
"""


@pytest.mark.slow
def test_a_study_with_ones_own_block_opens_in_a_fresh_process(place: Path) -> None:
    """What was measured is there at once, networks from when the program has imported the block."""
    command = [sys.executable, "-c", REOPEN, str(place / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=place)
    assert done.stdout.startswith("trial-0") and "image=1x8x8" in done.stdout, done.stdout
    assert done.stdout.split()[-3:] == ["None", "hadamard", "Pyramid"], done.stdout


def test_products_of_the_best_candidate(place: Path) -> None:
    shown = hadnas("products", "mine", "--home", place / "runs").output
    assert "stages.0.blocks.0.block" in shown and "on n = 288 validation images" in shown, shown


def test_ledger_lists_and_exports(place: Path, tmp_path: Path) -> None:
    shown = hadnas("ledger", "--home", place / "runs").output
    tables = ["architectures", "costs", "latencies", "predictors", "trainings", "tests", "epochs"]
    assert [line.split()[0] for line in shown.splitlines()[2:]] == tables, shown
    trained = hadnas("ledger", "trainings", "--home", place / "runs").output
    found = open_study("mine", place / "runs").best
    assert found.arch is not None and "complete" in trained and found.arch.fingerprint in trained, trained
    assert hadnas("ledger", "--home", place / "runs", "--csv", tmp_path / "t.csv").exit_code == 0
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["state"] for row in rows} == {"complete"} and all(float(row["val_accuracy"]) > 0 for row in rows)
    wrong = hadnas("ledger", "trainigs", "--home", place / "runs")
    assert wrong.exit_code == 2 and "did you mean 'trainings'" in wrong.output


def test_predict_says_a_latency_by_the_predictor_that_was_kept(place: Path, tmp_path: Path) -> None:
    results = open_study("mine", place / "runs")
    assert results.best.arch is not None
    (tmp_path / "arch.json").write_text(results.best.arch.json)
    arguments = ("predict", "mine", "--home", place / "runs", "--arch", tmp_path / "arch.json", "--device", "cpu")
    none = hadnas(*arguments)
    assert none.exit_code == 2 and "`hadnas predict STUDY` fits one" in none.output, none.output
    counted = cost(results.network(results.best), (1, 8, 8))
    said, rank = protocol((1, 8, 8)), Correlation(0.9, 0.8, 1.0, 40)
    shares = dict.fromkeys(cost_features(counted), 0.0) | {"elementwise": 1e-3}
    largest = cost_features(counted) | {"calls.convolution": 2.0}
    kept = Predictor(said, shares, largest, 40, 0, 0.05, 0.2, rank, {})
    key = digest(results.study.space), str(results.task()), protocol_key(said)
    results.ledger.measured.put_predictor(*key, said, asdict(kept))
    shown = hadnas(*arguments).output
    assert f"predicted latency {counted.elementwise / 1000:.3f} times that of the reference network {NAME}" in shown
    assert "relative error out of fold: median 5.0%, 90th percentile 20.0%, rank correlation +0.90" in shown, shown
    listed = hadnas("ledger", "predictors", "--home", place / "runs").output
    assert listed.split()[-3:] == ["40", "0.05", "0.9"] and "calls.convolution" not in listed, listed
    assert "\ncalls.convolution: more than in any candidate it was fitted to" in shown, shown
