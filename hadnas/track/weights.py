"""Weights that another machine trained: an MLflow server has them as a file of the run, and a home fetches them."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hadnas.store.home import Home, weights_of
from hadnas.store.records import Training
from hadnas.track import keys, store
from hadnas.track.names import experiment_name

FOLDER = "weights"
"""The folder of a run's artifacts that has its weights."""


def fetched_weights(training: Training, home: Home) -> Path:
    """The file of a training's weights, fetched from MLflow's server if it is missing here. Raises as `weights_of`."""
    if training.weights is not None and store.is_server(home.tracking_uri):
        place = home.file(training.weights)
        if not place.is_file():
            _fetch(training, place, home)
    return weights_of(training, home)


def _fetch(training: Training, place: Path, home: Home) -> None:
    """Copy the file from the run of the training, if a run has it; `weights_of` checks its hash."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(home.tracking_uri)
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(MlflowException, OSError), TemporaryDirectory(dir=place.parent) as folder:
        experiment = client.get_experiment_by_name(experiment_name(training.study))
        query = f"tags.`{keys.FINGERPRINT}` = '{training.key.fingerprint}'"
        for run in store.runs(client, experiment.experiment_id, query, "ALL") if experiment else ():
            path = f"{FOLDER}/{place.name}"
            if any(file.path == path for file in client.list_artifacts(run.info.run_id, FOLDER)):
                os.replace(client.download_artifacts(run.info.run_id, path, folder), place)
                return
