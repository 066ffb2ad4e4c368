"""MLflow's store of a home's runs and their files.

MLflow creates its tables in a hundred steps, each committed at once: a file that was interrupted between them stays
unusable. And it stores absolute paths: after a home was moved, it finds no file.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from hadnas.errors import StudyError, cut
from hadnas.track import keys
from hadnas.track.names import experiment_name

if TYPE_CHECKING:  # the server uses this file without importing MLflow
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run


def make(tracking_uri: str, artifact_root: Path) -> None:
    """Create the file if it is missing or empty, under another name until it is complete; for one process at a time."""
    file = _file(tracking_uri)
    if file is None or (file.exists() and file.stat().st_size):
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite+pysqlite:///{quote(str(new))}", artifact_root.as_uri()).engine.dispose()
    os.replace(new, file)


def place(artifact_root: Path, study: str) -> str:
    """The URI of the folder of a study's files."""
    return (artifact_root.resolve() / study).as_uri()


def is_server(tracking_uri: str) -> bool:
    """Whether the store is an MLflow server, which stores the files of runs, too."""
    return urlsplit(tracking_uri).scheme in ("http", "https")


def is_elsewhere(tracking_uri: str, location: str, place: str) -> bool:
    """Whether the home was moved or copied since its files were written to `location`; `place` is their new folder.

    Only a store that is a file moves with its home. One folder may have two paths, as when it is mounted twice.
    """
    if _file(tracking_uri) is None or location == place:
        return False
    old, new = (Path(unquote(urlsplit(uri).path)).parent for uri in (location, place))
    return not (old.exists() and new.exists() and old.samefile(new))


def open_experiment(
    client: "MlflowClient", tracking_uri: str, artifact_root: Path, study: str
) -> tuple[str, "Experiment | None"]:
    """The id of a study's experiment, new if there is none; if the home was moved, also the experiment before the move.

    MLflow writes a run's files to the first folder of its experiment, so a moved study gets a new experiment.
    """
    name, here = experiment_name(study), place(artifact_root, study)
    known = client.get_experiment_by_name(name)
    if known is not None and known.lifecycle_stage == "deleted":  # in the UI, but the study continues
        client.restore_experiment(known.experiment_id)
    if known is not None and not is_elsewhere(tracking_uri, known.artifact_location, here):
        return str(known.experiment_id), None
    if known is not None:
        client.rename_experiment(known.experiment_id, f"{name} before a move ({known.experiment_id})")
    return str(client.create_experiment(name, artifact_location=None if is_server(tracking_uri) else here)), known


def leave_behind(client: "MlflowClient", moved: "Experiment", folder: Path, parent_run_id: str) -> None:
    """Delete the experiment before a move and the files of its runs, which are now in `folder`.

    Files of its parent run, as the report, are logged again. Registered models stay: they exist only there.
    """
    for run in runs(client, moved.experiment_id, "", "ALL"):
        files = folder / run.info.run_id / "artifacts"
        if files.resolve().parent.parent != folder.resolve():  # a changed database may name any run `../..`
            continue
        if run.data.tags.get(keys.KIND) == "study" and files.is_dir():
            client.log_artifacts(parent_run_id, str(files))
        shutil.rmtree(files.parent, ignore_errors=True)
    client.delete_experiment(moved.experiment_id)


def known_runs(tracking_uri: str, artifact_root: Path, study: str) -> "tuple[list[Run], bool]":
    """The runs of a study, also those deleted in the UI, and whether its files were moved; nothing is created."""
    from mlflow import MlflowClient

    file = _file(tracking_uri)
    if file is not None and not file.exists():
        return [], False
    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name(experiment_name(study))
    if experiment is None:
        return [], False
    moved = is_elsewhere(tracking_uri, experiment.artifact_location, place(artifact_root, study))
    return list(runs(client, experiment.experiment_id, "", "ALL")), moved


def check_inside(tracking_uri: str, artifact_root: Path, run: "Run", path: str) -> None:
    """Raise StudyError if a run's file would lie outside the home, by a changed row of the store or by a link."""
    file = Path(unquote(urlsplit(run.info.artifact_uri).path)) / path
    if _file(tracking_uri) is not None and not file.resolve().is_relative_to(artifact_root.resolve()):
        raise StudyError(
            f"MLflow's run {cut(run.info.run_id)} has its files in {cut(run.info.artifact_uri)}, outside "
            f"{artifact_root}; delete mlflow.db there, it is written again"
        )


def runs(client: "MlflowClient", experiment_id: str, query: str, view: str) -> Iterator["Run"]:
    """The runs of an experiment, oldest first; `view` is ACTIVE_ONLY, or ALL with those deleted in the UI."""
    from mlflow.entities import ViewType

    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            query,
            ViewType.from_string(view.lower()),
            order_by=["attributes.start_time"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _file(tracking_uri: str) -> Path | None:
    """The store's file; None where it is no SQLite file."""
    uri = urlsplit(tracking_uri)
    return Path(unquote(uri.path)[1:]) if uri.scheme in ("sqlite", "sqlite+pysqlite") and len(uri.path) > 1 else None
