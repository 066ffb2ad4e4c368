"""A trained network of timm, and studies of grafts into it, for tests of distillation."""

from pathlib import Path
from typing import Any

import hadnas
from hadnas.arch.task import Task
from hadnas.hosts.build import build_seeded, save_weights
from hadnas.hosts.host import make_plan
from hadnas.space import op
from hadnas.train.data.spec import DataSpec, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import fit

DIGITS = Task.image(1, 8, 8, classes=10)
AS_TRAINED = DataSpec(source="digits", mean=(0.0,), std=(0.5,))
"""The images of the trained network, which the weights name; those of a study have moments of their own."""

MODEL = "test_resnet"
PARENT = make_plan(op("timm", model=MODEL), DIGITS)


def write_weights(folder: Path) -> Path:
    """The network, trained on digits to an accuracy of .93 or more."""
    data, path = load_data(AS_TRAINED), folder / "weights.safetensors"
    network = build_seeded(PARENT, 0)
    assert fit(network, data, Recipe(epochs=4), seed=0).score.accuracy > 0.93
    save_weights(network, path, images={"mean": data.mean, "std": data.std, "shape": data.shape})
    return path


def study(weights: Path | None, sites: Any, **changes: Any) -> hadnas.Study:
    space = hadnas.graft(MODEL, sites, weights=weights and str(weights))
    fields: dict[str, Any] = {"name": "grafts", "latency": None, "recipe": Recipe(epochs=1), "trials": 1}
    return hadnas.Study(space=space, **{**fields, **changes})
