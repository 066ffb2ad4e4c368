"""What a study leaves open: a batch that fits few images, and baselines of about the candidates' cost."""

import math
from pathlib import Path
from typing import Any

import pytest

from hadnas.arch.task import Task
from hadnas.errors import StudyError
from hadnas.hosts.build import build_plan
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.search.proposals.defaults import chosen_baselines, fitting_batch
from hadnas.search_spaces.four_families import SPACE
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.studies.digits import STUDY
from hadnas.train.recipe import Recipe


@pytest.mark.parametrize(("images", "batch"), [(64, 64), (1000, 64), (63, 8), (40, 8), (17, 4), (8, 2), (2, 2)])
def test_a_default_batch_fits_few_images(images: int, batch: int) -> None:
    found, notes = fitting_batch(Study(space=SPACE, recipe=Recipe(epochs=3)), images)
    assert found.recipe.batch == batch and found.recipe.epochs == 3
    assert notes == () if images >= 64 else f"batch = {batch} instead of 64" in notes[0]
    assert batch == 64 or batch == 2 or images / batch >= 4


def test_a_batch_that_was_set_is_refused() -> None:
    with pytest.raises(StudyError, match=r"batch = 64 .* 63 images; .* --batch"):
        fitting_batch(Study(space=SPACE, recipe=Recipe(batch=64)), 63)
    with pytest.raises(StudyError, match="1 image; two"):
        fitting_batch(Study(space=SPACE), 1)


def test_the_default_study_takes_few_images_of_a_user() -> None:
    study, (note,) = fitting_batch(STUDY, 38)
    assert study.recipe.batch == 8 and "batch = 8 instead of 64" in note


def macs(node: Any, task: Task) -> int:
    return cost(build_plan(make_plan(node, task), device="meta"), task.shape).macs


LARGER = [pytest.param(shape, marks=pytest.mark.slow) for shape in ((3, 32, 32), (3, 128, 96))]


@pytest.mark.parametrize("shape", [(1, 8, 8), *LARGER])
def test_baselines_cost_about_what_candidates_cost(shape: tuple[int, int, int], tmp_path: Path) -> None:
    task = Task.image(*shape, classes=10)
    study = Study(name="mine", space=SPACE, baselines=None)
    found, (note,) = chosen_baselines(study, task, Home(tmp_path))
    assert found.baselines is not None
    plain, *timm_models = found.baselines
    assert plain == "plain_conv" and len(timm_models) == 2
    assert found.baselines == chosen_baselines(study, task, Home(tmp_path))[0].baselines
    wanted = float(note.partition(" near ")[2].partition("M, ")[0]) * 1e6
    for name, node in found.baselines.items():
        assert abs(math.log2(macs(node, task) / wanted)) < 2, name
        assert f"{name} {macs(node, task) / 1e6:.3g}M" in note
    small, _ = chosen_baselines(study.model_copy(update={"constraints": {"macs": wanted / 2}}), task, Home(tmp_path))
    assert small.baselines and macs(small.baselines["plain_conv"], task) < wanted / 2


def test_baselines_that_a_study_names_are_kept(tmp_path: Path) -> None:
    task = Task.image(1, 8, 8, classes=10)
    for given in ({}, {"r": "test_resnet"}):
        study = Study(name="mine", space=SPACE, baselines=given)
        assert chosen_baselines(study, task, Home(tmp_path)) == (study, ())
    assert Study(space=SPACE).baselines == {}
