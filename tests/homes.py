"""New homes for tests, with MLflow's tables in them: MLflow takes four seconds to make them, a copy none."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from mlflow import MlflowClient

from hadnas.search.storage import Home


def new_home(path: Path) -> Home:
    """A home at `path` whose tracking store is a copy of one that MLflow has just made."""
    home = Home(path)
    shutil.copyfile(_made_by_mlflow(), home.path / "mlflow.db")
    return home


@cache
def _made_by_mlflow() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"
