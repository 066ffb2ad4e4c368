"""What a person sees: MLflow's own pages in a real browser, at the address `serve` prints, with 300 trials."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import ImageColor
from playwright.sync_api import Page, expect, sync_playwright

from hadnas.opened import open_study
from hadnas.results.report import write_report
from hadnas.search.run import run_study
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.track.keys import COLOUR
from hadnas.track.runs import Tracker
from hadnas.track.view import set_view
from hadnas.train.recipe import Recipe
from tests.networks import TINY_SPACE

pytestmark = pytest.mark.ui

TRIALS = 300
PAGE = 100  # runs the UI reads at once
WAIT = 120_000  # ms; a busy machine, seconds as a rule
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
COLOURS = {"trial": "#56b4e9", "baseline": "#d55e00"}
SERVE = """
import sys
from pathlib import Path
from hadnas.track.server import serve

serve(sys.argv[1], Path(sys.argv[2]), "digits", 0, on_ready=lambda address: print(address, flush=True))
"""


def fill(study: Tracker) -> None:
    """Two baselines and 300 trials, every twelfth refused, the last still training."""
    draw = random.Random(0)
    for number in range(-2, TRIALS):
        kind, name = ("trial", f"trial-{number:04d}") if number >= 0 else ("baseline", f"baseline-{-number}")
        family = draw.choice(["hadamard", "additive", "convolution", "attention"])
        summary = {"summary": f"{family} x {draw.randint(1, 6)}", "num_hadamard": draw.randint(0, 6)}
        colour = {COLOUR: COLOURS[kind]}
        run = study.start_trial(number if number >= 0 else None, kind, name, summary, colour, note="```\npyramid\n```")
        if number % 12 == 5:
            study.end_trial(run, "KILLED", "macs 12,000,000 > 10,000,000")
            continue
        macs = int(10 ** draw.uniform(5, 7))
        figures = {"macs": macs, "params": macs // 9, "latency_ms": macs / 2e6 + draw.random()}
        study.log_metrics(run, figures)
        if number != 0:
            study.log_epoch(run, 1, {"val/accuracy": 0.9 + draw.random() * 0.09})
        else:
            for epoch in range(1, 4):
                study.log_epoch(run, epoch, {"val/accuracy": 0.989 + epoch / 1000, "val/loss": 0.1, "train/loss": 0.2})
            study.log_text(run, "class Backbone: ...", "model.py")
        if number < TRIALS - 1:
            study.end_trial(run, "FINISHED")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    study = Tracker(uri, home / "artifacts", "digits")
    set_view(study, ("val/accuracy", "macs", "latency_ms", "params"), ("summary",), ("num_hadamard",))
    fill(study)
    trained = Study(name="real", space=TINY_SPACE, recipe=Recipe(epochs=1), latency=None, trials=2)
    run_study(trained, Home(home))
    write_report(open_study("real", home))
    command = [sys.executable, "-c", SERVE, uri, str(home / "artifacts")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ui:
        try:
            assert ui.stdout is not None
            yield ui.stdout.readline().strip()
        finally:
            os.kill(ui.pid, signal.SIGTERM)
            assert ui.wait(60) == 0


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "this test needs chromium: apt-get install chromium fonts-dejavu-core"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split(), timeout=WAIT)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address, wait_until="load")
        page.wait_for_selector("text=trial-0000")
        yield page
        browser.close()
    assert errors == []


def column(page: Page, name: str) -> list[str]:
    """The cells of a column that are in sight, from the top."""
    rows = page.locator(".ag-center-cols-container [role=row]").all()
    rows.sort(key=lambda row: int(row.get_attribute("row-index") or 0))
    return [row.locator(f'[col-id="{name}"]').inner_text() for row in rows]


def test_the_view_opens_with_its_charts(page: Page, tmp_path: Path) -> None:
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    scatter, parallel = cards.nth(0), cards.nth(1)
    expect(scatter).to_contain_text("macs vs. val/accuracy")
    expect(scatter.locator(".scatterlayer .point")).to_have_count(PAGE)
    assert scatter.locator(".xtitle").text_content() == "macs"
    assert scatter.locator(".ytitle").text_content() == "val/accuracy"
    expect(parallel.locator(".parcoords canvas").first).to_be_visible()
    axes = parallel.locator(".parcoords .dimension text.label")
    expect(axes).to_have_text(["num_hadamard", "macs", "latency_ms", "val/accuracy"])
    boxes = [box for axis in axes.all() if (box := axis.bounding_box()) is not None]
    assert all(left["x"] + left["width"] < right["x"] for left, right in pairwise(boxes))  # beside MLflow's assistant
    inked = "boards => boards.some(b => b.getContext('2d').getImageData(0, 0, b.width, b.height).data.some(v => v))"
    assert parallel.locator(".parcoords canvas").evaluate_all(inked)
    colours = scatter.locator(".scatterlayer .point").evaluate_all(
        "points => points.map(point => getComputedStyle(point).fill)"
    )
    assert set(colours) <= {f"rgb{ImageColor.getrgb(colour)}" for colour in COLOURS.values()}
    expect(cards).to_have_count(2)  # those of MLflow are in closed sections
    for title in ("Model metrics", "train", "val"):
        section = page.locator("[aria-expanded=false]").filter(has_text=title)
        expect(section.first).to_be_visible()
    page.screenshot(path=tmp_path / "charts.png")


def test_the_table_has_its_columns_sorted(page: Page, tmp_path: Path) -> None:
    page.locator("label", has=page.locator("input[name=runs-view-mode][value=TABLE]")).click()
    names = ["metrics.`val/accuracy`", "metrics.`macs`", "metrics.`latency_ms`", "metrics.`params`", "params.`summary`"]
    for name in names:
        expect(page.locator(f'.ag-header-cell[col-id="{name}"]')).to_be_visible()
    places = [page.locator(f'.ag-header-cell[col-id="{name}"]').bounding_box() for name in names]
    left = [place["x"] for place in places if place is not None]
    assert len(left) == len(names) and left == sorted(left)
    accuracy = [float(cell) for cell in column(page, names[0])]
    assert len(accuracy) > 10 and accuracy == sorted(accuracy, reverse=True)
    assert accuracy[0] > 0.98
    assert all(" x " in cell for cell in column(page, "params.`summary`"))
    page.screenshot(path=tmp_path / "table.png")


def test_a_trial_shows_its_curve_and_its_files(page: Page, tmp_path: Path) -> None:
    page.get_by_text("trial-0000", exact=True).first.click()
    expect(page.get_by_role("heading", name="trial-0000")).to_be_visible()
    expect(page.get_by_text("pyramid")).to_be_visible()
    page.screenshot(path=tmp_path / "trial.png")
    overview = page.url.split("?")[0]
    page.goto(overview + "/model-metrics")
    curve = page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text="val/accuracy")
    expect(curve.locator(".scatterlayer .point")).to_have_count(3)
    page.screenshot(path=tmp_path / "curve.png")
    page.goto(overview + "/artifacts")
    page.get_by_text("model.py").first.click()
    expect(page.get_by_text("class Backbone")).to_be_visible()
    page.screenshot(path=tmp_path / "files.png")


def test_a_study_shows_its_report_and_a_trial_its_drawing(page: Page, address: str, home: Path, tmp_path: Path) -> None:
    results = open_study("real", home)
    client = MlflowClient(results.home.tracking_uri)
    run_id = results.best.run_id
    assert run_id is not None
    run = client.get_run(run_id)
    runs = f"{address.split('/#/')[0]}/#/experiments/{run.info.experiment_id}/runs"
    page.goto(f"{runs}/{run_id}/artifacts")
    page.get_by_text("architecture.svg").first.click()
    drawing = page.locator("img[src^='blob:'], img[src*='architecture.svg']").first
    expect(drawing).to_be_visible()
    assert drawing.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    page.screenshot(path=tmp_path / "drawing.png")
    page.get_by_text("cost.csv").first.click()
    expect(page.get_by_text("bytes_moved").first).to_be_visible()
    page.screenshot(path=tmp_path / "cost.png")
    page.goto(f"{runs}/{run.data.tags['mlflow.parentRunId']}/artifacts")
    page.get_by_text("report.html").first.click()
    report = page.frame_locator("iframe").last
    expect(report.get_by_role("heading", name="Accuracy and cost")).to_be_visible()
    expect(report.locator("figure svg").first).to_be_visible()
    page.screenshot(path=tmp_path / "report.png")


def test_the_description_leads_from_mlflows_front_page_to_the_runs(page: Page, address: str, tmp_path: Path) -> None:
    fresh = page.context.browser
    assert fresh is not None
    visitor = fresh.new_page(viewport={"width": 1600, "height": 1000})
    visitor.set_default_timeout(WAIT)
    visitor.goto(address.split("/#/")[0], wait_until="load")
    visitor.get_by_text("hadnas/real", exact=True).first.click()
    way = visitor.get_by_role("link", name="Runs and charts")
    expect(way).to_be_visible()
    visitor.get_by_text("Got it").click()  # MLflow introduces a button
    with visitor.context.expect_page() as opened:
        way.click()
    runs = opened.value
    expect(runs.get_by_text("trial-0000").first).to_be_visible(timeout=WAIT)
    runs.screenshot(path=tmp_path / "way.png")
    visitor.context.close()


def test_the_summary_of_a_study_has_its_settings_data_and_front(page: Page, address: str, home: Path) -> None:
    results = open_study("real", home)
    client = MlflowClient(results.home.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/real")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`hadnas.kind` = 'study'")
    page.goto(f"{address.split('/#/')[0]}/#/experiments/{experiment.experiment_id}/runs/{parent.info.run_id}")
    expect(page.get_by_text(f"{results.best.name} won: validation accuracy")).to_be_visible()
    expect(page.get_by_text("search/front_size")).to_be_visible()
    expect(page.get_by_text("objectives", exact=True)).to_be_visible()
    expect(page.get_by_text("digits (training)").first).to_be_visible()
    page.get_by_text("Show more").first.click()
    expect(page.get_by_role("link", name=results.front[0].name).first).to_be_visible()
