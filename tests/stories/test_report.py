"""The report: what it says is what the study holds, and the page needs nothing but itself."""

import html
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import mlflow
import pytest
from scipy import stats

import hadnas
from hadnas.arch.diagram import diagram
from hadnas.errors import StudyError
from hadnas.opened import open_study
from hadnas.results.insight import MIN_TRIALS, insight
from hadnas.results.plots import Ordinate, Point, plot_bars, plot_front, plot_history, plot_intervals
from hadnas.results.predictions import score_in
from hadnas.results.report import first_sentence, write_report
from hadnas.results.table import StudyResults
from hadnas.search.run import run_study
from hadnas.space import one_of, op
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe
from tests.homes import new_home
from tests.networks import pyramid, residual

# four families in two stages, a decision that others hang on, widths of unequal steps
BLOCK = one_of(
    op("star", expand=one_of(2, 3)), op("mlp", expand=2), op("conv_next", expand=2), op("attention", heads=2)
)
SPACE = pyramid((8, [residual(BLOCK)]), (one_of(8, 12, 24), [residual(BLOCK, merge=one_of(op("add"), op("product")))]))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    home = new_home(tmp_path_factory.mktemp("report"))
    study = Study(
        name="wide",
        space=SPACE,
        recipe=Recipe(epochs=1, batch=512),
        latency=None,
        trials=MIN_TRIALS,
        baselines={"net": "test_resnet"},
    )
    run_study(study, home)
    return open_study("wide", home.path)


@pytest.mark.slow
def test_the_page_needs_no_network_and_says_what_the_study_holds(results: StudyResults) -> None:
    page = write_report(results).read_text()
    links = re.findall(r"(?:src|href)=[\"']([^\"']+)", page)
    assert all(link.startswith(("#", "data:")) for link in links) and "<script" not in page and "@import" not in page
    assert len(page) < 5_000_000
    best = results.best
    assert f"The winner: {best.name}" in page and f"{best.figures['macs']:,}" in page
    for section in ("front", "history", "decisions", "families", "products", "winner", "finals", "refused", "machine"):
        assert f'<h2 id="{section}">' in page
    assert "Association of each family" in page and "hadnas finals wide" in page
    assert "class " in page and "Licence: Apache-2.0" in page  # the code
    for found in results.distinct:
        assert f"<title>{found.name}: {found.figures['val/accuracy']:.4f}" in page  # under the pointer


@pytest.mark.slow
def test_the_first_sentence_says_what_won_and_whether_it_is_noise(results: StudyResults) -> None:
    said, best, (baseline,) = first_sentence(results), results.best, results.baselines
    assert f'<p class="first">{said}</p>' in html.unescape(write_report(results).read_text())
    assert said.startswith(f"{best.name} won: validation accuracy {best.value:.4f} on 288 images")
    hits = []
    for found in (best, baseline):
        score = score_in(results, found)
        assert score is not None
        hits.append(score.hits.double().numpy())
    lead = hits[0] - hits[1]
    reach = stats.t.ppf(0.975, len(lead) - 1) * lead.std(ddof=1) / len(lead) ** 0.5
    noise = "inside the noise" if abs(lead.mean()) <= reach else "more than noise"
    words = f"the best baseline, net (95 % interval {lead.mean() - reach:+.4f} to {lead.mean() + reach:+.4f}: {noise})"
    assert words in said and f"{abs(lead.mean()):.4f} {'better' if lead.mean() > 0 else 'worse'} than" in said
    multiplies = bool(best.figures["products"])
    other = next(found for found in results.ranked if bool(found.figures["products"]) != multiplies)
    assert f"{'without' if multiplies else 'with'} products, {other.name} (95 % interval" in said


@pytest.mark.slow
def test_the_parent_run_shows_the_report_and_its_figures(results: StudyResults) -> None:
    client = mlflow.MlflowClient(results.home.tracking_uri)
    experiment = client.get_experiment_by_name("hadnas/wide")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`hadnas.kind` = 'study'")
    assert parent.info.status == "FINISHED"
    assert "report.html" in {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert parent.data.tags["mlflow.note.content"].replace("\\", "").startswith(first_sentence(results))
    client.update_run(parent.info.run_id, status="RUNNING")  # as while a search goes on elsewhere
    write_report(results)
    assert client.get_run(parent.info.run_id).info.status == "RUNNING"
    client.update_run(parent.info.run_id, status="FINISHED")
    shown = {item.path for item in client.list_artifacts(parent.info.run_id, "figures")}
    assert {"figures/front.svg", "figures/history.svg", "figures/importances.svg"} <= shown
    assert results.front[0].run_id is not None
    assert "model.py" in {item.path for item in client.list_artifacts(results.front[0].run_id)}


@pytest.mark.slow
def test_importances_say_options_and_count_trials(results: StudyResults) -> None:
    found = insight(results)
    assert found.adaptive and not found.missing
    assert [i.value for i in found.importances] == sorted((i.value for i in found.importances), reverse=True)
    for importance in found.importances:
        took = [each for each in results.distinct if importance.decision in each.params]
        assert importance.n == len(took) >= MIN_TRIALS
        chosen = [t.figures["val/accuracy"] for t in took if str(t.params[importance.decision]) == importance.best]
        assert len(chosen) == importance.times
        assert importance.mean == pytest.approx(sum(chosen) / len(chosen))
    client = mlflow.MlflowClient(results.home.tracking_uri)
    for each in results.distinct:
        assert each.arch is not None and each.run_id is not None
        dim = each.arch.node["stages"][1]["dim"]  # not its index, which is what the sampler sees
        assert each.params["stages.1.dim"] == dim
        assert client.get_run(each.run_id).data.params["stages.1.dim"] == str(dim)


@pytest.mark.slow
def test_differences_are_those_of_the_groups(results: StudyResults) -> None:
    found = insight(results)
    for difference in found.differences:
        letter = {"hadamard": "star", "additive": "mlp", "convolution": "conv_next", "attention": "attention"}
        letter |= {"hadamard merge": "product", "additive merge": "add"}
        with_it, without = [], []
        for each in results.distinct:
            assert each.arch is not None
            stage = each.arch.node["stages"][difference.stage]
            ops = [node["block"]["op"] for node in stage["blocks"]] + [node["merge"]["op"] for node in stage["blocks"]]
            holds = letter[difference.family] in ops
            (with_it if holds else without).append(each.figures["val/accuracy"])
        assert (difference.n_with, difference.n_without) == (len(with_it), len(without))
        assert difference.mean == pytest.approx(sum(with_it) / len(with_it) - sum(without) / len(without))
        assert difference.low <= difference.mean <= difference.high


@pytest.mark.slow
def test_a_study_with_little_to_say_says_so(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    with pytest.raises(StudyError, match=rf"{tmp_path}.*hadnas\.db .*--home"):
        open_study("short", home.path)
    study = Study(
        name="short", space=SPACE, recipe=Recipe(epochs=1, batch=512), latency=None, trials=1, sampler="random"
    )
    run_study(study, home)
    results = open_study("short", home.path)
    assert "1 architectures were trained" in insight(results).missing
    page = write_report(results, tmp_path / "out" / "page.html").read_text()
    assert write_report(results, tmp_path / "out" / "page.html").read_text() == page  # an earlier report is replaced
    (tmp_path / "mine.md").write_text("# Mine")
    with pytest.raises(StudyError, match=r"mine\.md"):
        write_report(results, tmp_path / "mine.md")
    with pytest.raises(StudyError, match=r"mine\.md/page\.html.*: (Not a directory|File exists)"):
        write_report(results, tmp_path / "mine.md" / "page.html")
    shutil.rmtree(home.path / "short" / "weights")
    assert "Not measured: " in write_report(results, tmp_path / "out" / "page.html").read_text()
    assert "comparison of decisions needs 10" in page and "Effect of each family" in page


@pytest.mark.slow
def test_a_study_without_a_finished_trial_has_no_report(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    space = pyramid((8, [residual(op("attention", heads=one_of(2, 4)))]))
    study = Study(name="none", space=space, latency=None, trials=1, constraints={"macs": 1.0})
    run_study(study, home)
    with pytest.raises(StudyError, match="no finished trial"):
        write_report(open_study("none", home.path))


def test_figures_are_svg_with_axes_and_text() -> None:
    points = [
        Point("a", 1e5, 0.9, 0.01, "front", "a & <b>"),
        Point("b", 1e6, 0.8, 0.01, "candidate", "b"),
        Point("c", 1e6, 0.7, 0.01, "baseline", "c"),
        Point("d", 1e6, 0.8, 0.01, "candidate", "d at the place of b"),
    ]
    drawn = plot_front(points, "MACs", Ordinate("accuracy", "maximize"), log=True)
    ticks = [text.text for text in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert {"100k", "200k", "500k", "1M"} <= set(ticks)
    assert "MACs, log scale" in drawn and "validation accuracy" in drawn
    titles = [title.text for title in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["b", "d at the place of b", "a & <b>", "c"]
    for text in (
        plot_history([(0, 0.5), (1, 0.4)], [("net", 0.45)], Ordinate("accuracy", "maximize")),
        plot_bars(["x", "y"], [1, 2], "importance"),
        plot_intervals(["x"], [(0.1, -0.1, 0.3)], "difference"),
    ):
        assert ElementTree.fromstring(text).tag.endswith("svg")


def test_costs_less_than_a_decade_apart_have_ticks_between() -> None:
    points = [Point(str(x), x, 0.9, 0.01, "candidate", "") for x in (1.2e6, 1.7e6, 2.4e6)]
    drawn = plot_front(points, "MACs", Ordinate("accuracy", "maximize"), log=True)
    texts = {text.text or "" for text in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")}
    assert {"1.5M", "2M"} <= texts


@pytest.mark.parametrize("name", ["starnet_s1", "hornet_tiny", "monet_tiny"])
def test_the_diagram_shows_every_stage_and_runs_once(name: str) -> None:
    arch = hadnas.load(name)
    drawn = diagram(arch)
    texts = [text.text for text in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    for index, stage in enumerate(arch.node["stages"]):
        assert f"stage {index}: {stage['dim']} channels" in texts
    assert ("8 \u00d7 star" in texts) == (name == "starnet_s1")  # HorNet's blocks alternate, MONet's differ
