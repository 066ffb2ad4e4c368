"""Scores without training against trained accuracy, in a study that ran."""

import math
from pathlib import Path

import pytest
import torch
from scipy import stats

from hadnas.errors import StudyError
from hadnas.hosts.build import build
from hadnas.measure.proxies import nwot, synflow
from hadnas.opened import open_study
from hadnas.results import scores as scoring
from hadnas.results.scores import SCORES, score_study
from hadnas.search.run import run_study
from hadnas.shell.tables.rankings import show_scores
from hadnas.space import one_of, op
from hadnas.store.study import Study
from hadnas.train.data.images import evenly_spaced
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from tests.homes import new_home
from tests.networks import pyramid, residual

STEM = op("conv_norm", dim=8, stride=1, act=None)
BLOCK = one_of(op("glu", expand=one_of(1.0, 2.0), act=None), op("mlp", expand=one_of(1, 2), act="relu"))
SPACE = pyramid((8, [residual(BLOCK), residual(BLOCK)]), stem=STEM)


@pytest.mark.slow
def test_each_score_is_that_of_the_initial_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(scoring, "nwot", lambda network, inputs: seen.append(inputs[0]) or nwot(network, inputs))
    study = Study(name="small", space=SPACE, recipe=Recipe(epochs=1, batch=256), latency=None, trials=8, seed=3)
    run_study(study, new_home(tmp_path))
    results = open_study("small", tmp_path)
    found = score_study(results)
    assert tuple(found) == SCORES and found["macs"].overall.n == 8 and found["macs"].quarter.n == 2
    assert found["nwot"].lacking > 0
    accuracy: list[float] = []
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    train = load_data("digits").train
    (images,), _ = next(train.batches(64, torch.device("cpu"), evenly_spaced(64, len(train))))
    assert torch.equal(seen[0], images)
    for one in results.ranked:
        assert one.arch is not None
        torch.manual_seed(3)
        network = build(one.arch, results.task())
        scores["synflow"].append(synflow(network, (1, 8, 8)))
        scores["macs"].append(one.figures["macs"])
        scores["params"].append(one.figures["params"])
        scores["nwot"].append(nwot(network, (images,)) if "mlp" in one.arch.ops() else math.nan)
        accuracy.append(one.figures["val/accuracy"])
    for name, score in found.items():
        pairs = [(left, right) for left, right in zip(scores[name], accuracy, strict=True) if not math.isnan(left)]
        assert score.overall.n == len(pairs) == 8 - score.lacking
        if score.overall.rho is not None:
            assert score.overall.rho == pytest.approx(stats.spearmanr(pairs).statistic)
    show_scores(results)
    shown = capsys.readouterr().out
    assert "all (n=8)" in shown and "best quarter (n=2)" in shown and "nwot" in shown
    assert found["nwot"].lacking and f", n = {found['nwot'].overall.n}" in shown


def test_places_are_spread_over_all_images() -> None:
    assert evenly_spaced(4, 10).tolist() == [0, 3, 6, 9] and evenly_spaced(5, 3).tolist() == [0, 1, 2]
    classes = torch.arange(10).repeat_interleave(130)  # a folder, read class by class
    assert classes[evenly_spaced(64, len(classes))].bincount().min() >= 6


def test_a_study_with_too_little_to_rank_is_refused(tmp_path: Path) -> None:
    run_study(
        Study(name="one", space=pyramid((8, [])), recipe=Recipe(epochs=1, batch=512), latency=None, trials=1),
        new_home(tmp_path),
    )
    with pytest.raises(StudyError, match=r"'one' has 1 .*four"):
        score_study(open_study("one", tmp_path))
