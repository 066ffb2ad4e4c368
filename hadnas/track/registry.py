"""An exported network in MLflow: logged beside the run that trained it, and registered, ready to be served."""

import logging
import os
import shlex
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from hadnas.errors import StudyError
from hadnas.targets import TargetKind
from hadnas.track.keys import FINGERPRINT, MADE_BY
from hadnas.track.names import without_password
from hadnas.track.runs import quieten

SERVING = ("safetensors", "numpy")
"""Packages that serving a network needs, beside MLflow and those of its code."""


@contextmanager
def _registry(tracking_uri: str) -> Iterator[None]:
    """Turn errors of MLflow into StudyError; silence its warnings on type hints and its progress bars."""
    quieten()
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.exceptions import MlflowException  # after hadnas.track.runs has switched off telemetry

    with warnings.catch_warnings(record=True):  # not shown, though MLflow changes the filter
        warnings.simplefilter("ignore")
        try:
            yield
        except (MlflowException, OSError) as error:
            raise StudyError(
                f"MLflow at {without_password(tracking_uri)} cannot store the model: {str(error).splitlines()[0]}"
            ) from error


def check_run(tracking_uri: str, run_id: str) -> None:
    """Raise StudyError if MLflow has no such run, to which the model would be logged."""
    with _registry(tracking_uri):
        from mlflow import MlflowClient

        MlflowClient(tracking_uri).get_run(run_id)


def register_network(
    tracking_uri: str,
    run_id: str,
    name: str,
    folder: Path,
    inputs: Any,
    logits: Any,
    tags: Mapping[str, str],
    needed: Sequence[str],
    target: TargetKind,
) -> str:
    """Log the exported `folder` as a model of a run and register it as `name`; returns `models:/<name>/<version>`.

    inputs, logits  an input example (B, C, H, W), float32, or several inputs by name, and its outputs: they give the
                    signature
    needed          the packages that the exported code imports
    target          what the outputs are

    Raises StudyError if the run is not in MLflow, or MLflow cannot store the model; then nothing of it remains there.
    """
    with _registry(tracking_uri):
        from mlflow import MlflowClient, pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model, infer_signature

        client = MlflowClient(tracking_uri)
        run = client.get_run(run_id)
        model = client.create_logged_model(
            run.info.experiment_id,
            f"hadnas_{tags[FINGERPRINT]}",
            source_run_id=run_id,
            tags=dict(tags),
            model_type="regressor" if target == "values" else "classifier",
        )
        try:
            with tempfile.TemporaryDirectory() as scratch:
                place = Path(scratch) / "model"
                pyfunc.save_model(
                    place,
                    python_model=str(Path(__file__).with_name("served.py")),
                    artifacts={"export": str(folder)},
                    signature=infer_signature(inputs, logits),
                    input_example=inputs,
                    pip_requirements=_requirements({*needed, *SERVING}),
                    mlflow_model=Model(model.artifact_location, run_id=run_id, model_id=model.model_id),
                )
                client.log_model_artifacts(model.model_id, str(place))
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name, tags={MADE_BY: "export"})
            known = client.create_model_version(
                name, model.artifact_location, run_id=run_id, model_id=model.model_id, tags=dict(tags)
            )
        except BaseException:
            client.finalize_logged_model(model.model_id, "FAILED")
            client.delete_logged_model(model.model_id)
            raise
    return f"models:/{name}/{known.version}"


def _requirements(packages: set[str]) -> list[str]:
    """The installed distributions of these packages: `pillow==13.0` for PIL."""
    known = packages_distributions()
    names = sorted({name for package in packages for name in known.get(package, [])})
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def serve_command(tracking_uri: str, model_uri: str, port: int = 5001) -> str:
    """The command that serves a registered model on this machine."""
    return (
        f"MLFLOW_TRACKING_URI={shlex.quote(without_password(tracking_uri))} "
        f"mlflow models serve -m {model_uri} --env-manager local --host 127.0.0.1 --port {port}"
    )
