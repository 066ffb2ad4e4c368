"""Homes and a study for tests."""

import atexit
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from hadnas.search.job import Outcome
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import Epoch
from tests.networks import TINY_SPACE

RECIPE = Recipe(epochs=1, batch=512)


def study(**changes: Any) -> Study:
    """A study of tiny networks, over in seconds; by TPE, which meets networks again."""
    fields: dict[str, Any] = {"name": "tiny", "space": TINY_SPACE, "recipe": RECIPE, "latency": None, "trials": 3}
    fields["sampler"] = "tpe"
    return Study(**{**fields, **changes})


def new_home(path: Path) -> Home:
    """A home at `path`, its tracking store a copy of one that MLflow made: that takes it four seconds, a copy none."""
    home = Home(path)
    shutil.copyfile(_made_by_mlflow(), home.path / "mlflow.db")
    return home


@cache
def _made_by_mlflow() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


class Unseen:
    """An evaluation that nobody looks at."""

    def measured(self, outcome: Outcome) -> None: ...

    def epoch(self, epoch: Epoch) -> None: ...

    def quiet(self) -> AbstractContextManager[None]:
        return nullcontext()
